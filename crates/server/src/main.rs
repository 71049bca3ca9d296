//! server: stub.
fn main() {}
