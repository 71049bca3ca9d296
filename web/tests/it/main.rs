//! The pages as a browser sees them: real handlers and templates over the ports in memory.

mod fakes;
