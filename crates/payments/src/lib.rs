//! payments: stub.
