//! The dialects against their golden fixtures, at any split, and against hostile requests.
//!
//! The modules say `cfg(test)` so that the lints know their helpers for test code.

#[cfg(test)]
mod face;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod splits;
