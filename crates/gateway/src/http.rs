//! The doors: what each route reads of HTTP and writes back. No door decides anything.

pub mod account;
pub mod answer;
pub mod body;
pub mod catalog;
pub mod chat_completions;
pub mod generation;
pub mod health;
pub mod keys;
pub mod limits;
pub mod openapi;
pub mod receipt;
pub mod schema;
pub mod user_models;
