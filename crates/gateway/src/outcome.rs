//! How a request ended, as one value: metrics and traces are derived from it in one place.

use kernel::NanoUsd;
use std::time::Duration;

/// The end of a request.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub ending: Ending,
    /// From arrival to the end of all work.
    pub took: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Ending {
    /// Nothing was sent to the client but the refusal.
    Refused {
        status: u16,
        error_type: &'static str,
    },
    Answered(Box<Answered>),
}

/// A request that a provider answered, wholly or in part.
#[derive(Debug, Clone)]
pub struct Answered {
    pub model: String,
    pub provider: String,
    pub streamed: bool,
    pub cancelled: bool,
    pub error: Option<&'static str>,
    pub charge: Option<NanoUsd>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// From arrival to the first output.
    pub first_output: Option<Duration>,
    /// What we ourselves added before the provider was asked.
    pub overhead: Duration,
}
