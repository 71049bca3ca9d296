//! billing: stub.
