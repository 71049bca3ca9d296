//! testkit: stub.
