//! bench: stub.
