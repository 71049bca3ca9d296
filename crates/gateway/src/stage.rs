//! The stages of the pipeline, one file each. Each takes what the one before gave.

pub mod admit;
pub mod authenticate;
pub mod call;
pub mod read;
pub mod route;
pub mod settle;
pub mod stream;
