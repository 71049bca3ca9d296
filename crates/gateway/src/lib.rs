//! gateway: stub.
