//! routing: stub.
