//! catalog: stub.
