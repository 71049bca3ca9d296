//! e2e: stub.
