//! The catalog as its users see it: the seed, the public JSON, the diff.

mod diff;
mod fixture;
mod refs;
mod seed;
mod wire;
