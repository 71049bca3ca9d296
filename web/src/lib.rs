//! web: stub.
