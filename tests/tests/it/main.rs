//! The bars of the product over the real binary: each test has a stack of its own and ends with a proof of the
//! books where money moved.

#[cfg(test)]
mod smoke;
