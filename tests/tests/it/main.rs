//! The bars of the product over the real binary: each test has a stack of its own and ends with a proof of the
//! books where money moved.

#[cfg(test)]
mod aborts;
#[cfg(test)]
mod backlog;
#[cfg(test)]
mod books_over_http;
#[cfg(test)]
mod byok_edge;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod failover_lossy;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod jwt;
#[cfg(test)]
mod kill_switch;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod malformed_bodies;
#[cfg(test)]
mod money_back;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod overspend;
#[cfg(test)]
mod provider_add;
#[cfg(test)]
mod rebuild_total;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod smoke;
#[cfg(test)]
mod staff;
#[cfg(test)]
mod support;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod waiting;
