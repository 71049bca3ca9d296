//! store-redis: stub.
