//! store-postgres: stub.
