//! The Stripe adapter against a scripted server, against the payments simulator, and against signatures
//! that another implementation made.

#[cfg(test)]
mod client;
#[cfg(test)]
mod config;
#[cfg(test)]
mod server;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod webhooks;
