//! The pages as a browser sees them: real handlers and templates over the ports in memory.

mod browser;
mod fakes;
mod keys;
mod money;
mod pages;
mod security;
mod staff;
mod trouble;
