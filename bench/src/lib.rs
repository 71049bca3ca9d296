//! The load rig: workloads, a fast mock provider, floors, a load generator and the run that compares them.
//!
//! It drives the product's executable from outside and shares no code with it. Nothing here is a test of
//! behavior, and its figures are ratios within one run on one machine; see `README.md` beside it.

pub mod cpu;
pub mod engine;
pub mod floors;
pub mod http;
pub mod load;
pub mod mock;
pub mod report;
pub mod run;
pub mod stack;
pub mod time;
pub mod workload;
