//! The superset chat model: the union of what the dialects can say.
//!
//! Requests are read in two strengths: [`head`] looks at the top level and checks the shape of the
//! messages without building a tree, [`request`] is the whole tree for translation.

pub mod event;
pub mod failure;
pub mod fields;
pub mod finish;
pub mod head;
pub mod message;
mod messages_shape;
pub mod reasoning;
pub mod reply;
pub mod request;
pub mod request_error;
pub mod tool;
mod tree;
