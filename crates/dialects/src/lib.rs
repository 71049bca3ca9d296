//! dialects: stub.
