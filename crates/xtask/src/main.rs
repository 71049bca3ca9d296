//! xtask: stub.
fn main() {}
