//! accounts: stub.
