//! How our clients are answered: one module a face, pure functions from events and replies to bytes.
//!
//! Parsing a client's request is the model's work ([`crate::parse_chat_request`]).

pub mod openai;
