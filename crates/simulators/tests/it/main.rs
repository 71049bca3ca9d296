//! Both simulators over real sockets, in this process.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod payments_api;
#[cfg(test)]
mod payments_page;
#[cfg(test)]
mod payments_webhooks;
#[cfg(test)]
mod wires;
