//! The gateway's Prometheus metrics. Labels never name accounts, keys or models.

use crate::outcome::{Answered, Ending, Outcome};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and histograms of the request path.
#[derive(Debug)]
pub struct Metrics {
    requests: IntCounterVec,
    attempts: IntCounterVec,
    ttft: Histogram,
    overhead: Histogram,
    duration: Histogram,
    charged: IntCounter,
    prompt_tokens: IntCounter,
    completion_tokens: IntCounter,
    /// Settlements that the engine did not confirm at once.
    pub settle_retries: IntCounter,
    /// Used but not covered by hold, balance or caps.
    pub uncollected: IntCounter,
    pub streams_open: IntGauge,
}

const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

impl Metrics {
    /// Registers everything; fails only when a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let histogram = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let plain = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let streams_open = IntGauge::new("farebox_streams_open", "Requests in progress")?;
        registry.register(Box::new(streams_open.clone()))?;
        let tokens = counter("farebox_tokens_total", "Tokens metered", &["class"])?;
        Ok(Self {
            requests: counter(
                "farebox_requests_total",
                "Requests by route and status class",
                &["route", "status_class"],
            )?,
            attempts: counter(
                "farebox_upstream_attempts_total",
                "Calls of providers",
                &["provider", "outcome"],
            )?,
            prompt_tokens: tokens.with_label_values(&["prompt"]),
            completion_tokens: tokens.with_label_values(&["completion"]),
            ttft: histogram("farebox_ttft_seconds", "Arrival to first output")?,
            overhead: histogram("farebox_overhead_seconds", "Arrival to the provider being asked")?,
            duration: histogram("farebox_request_seconds", "Arrival to the end of all work")?,
            charged: plain("farebox_charged_nano_usd_total", "Nano-dollars charged")?,
            settle_retries: plain("farebox_settle_retries_total", "Settlements not confirmed at once")?,
            uncollected: plain("farebox_uncollected_nano_usd_total", "Nano-dollars used but not covered")?,
            streams_open,
        })
    }

    /// Counts a call of a provider.
    pub fn attempt(&self, provider: &str, outcome: &str) {
        self.attempts.with_label_values(&[provider, outcome]).inc();
    }

    /// Counts the end of a request.
    pub fn record(&self, outcome: &Outcome) {
        self.duration.observe(outcome.took.as_secs_f64());
        let status = match &outcome.ending {
            Ending::Refused { status, .. } => *status,
            Ending::Answered(answered) => {
                self.answered(answered);
                200
            }
        };
        let class = match status {
            0..400 => "2xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&["chat/completions", class]).inc();
    }

    fn answered(&self, answered: &Answered) {
        self.attempt(&answered.provider, answered.error.unwrap_or("ok"));
        self.overhead.observe(answered.overhead.as_secs_f64());
        if let Some(first) = answered.first_output {
            self.ttft.observe(first.as_secs_f64());
        }
        if let Some(charge) = answered.charge.and_then(|charge| u64::try_from(charge.get()).ok()) {
            self.charged.inc_by(charge);
        }
        self.prompt_tokens.inc_by(answered.prompt_tokens);
        self.completion_tokens.inc_by(answered.completion_tokens);
    }
}
