//! The credit engine on a real Redis: a plain model call by call, one table per rule, parallel callers,
//! and epochs.
//!
//! No fake engine anywhere. Tests that sweep, trim or change epochs start a server of their own.

#[cfg(test)]
mod checker;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod history;
#[cfg(test)]
mod list_price;
#[cfg(test)]
mod loading;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_close;
#[cfg(test)]
mod model_vs_redis;
#[cfg(test)]
mod ops;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod parallel;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod support;
