//! One OpenTelemetry span per generation, by the GenAI conventions, made when the generation has ended. No
//! prompt, answer, key or address is ever in it.

use crate::outcome::{Answered, Ending, Outcome};
use kernel::Moment;
use kernel::ids::GenerationId;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _};
use opentelemetry::{KeyValue, global};
use std::time::SystemTime;

/// Makes spans, or nothing where no collector is configured.
#[derive(Debug, Default)]
pub struct Tracing {
    tracer: Option<BoxedTracer>,
}

impl Tracing {
    /// Uses the tracer provider that the process has set up.
    #[must_use]
    pub fn on() -> Self {
        Self { tracer: Some(global::tracer("farebox-gateway")) }
    }

    /// Records the end of a request that arrived at `started`.
    pub fn record(&self, outcome: &Outcome, generation: GenerationId, started: Moment) {
        let Some(tracer) = &self.tracer else { return };
        let begun = SystemTime::from(started);
        let (name, attributes) = match &outcome.ending {
            Ending::Answered(answered) => (format!("chat {}", answered.model), answered_attributes(answered)),
            Ending::Refused { status, error_type } => {
                let status = KeyValue::new("http.response.status_code", i64::from(*status));
                ("chat".to_owned(), vec![KeyValue::new("error.type", *error_type), status])
            }
        };
        let builder = tracer
            .span_builder(name)
            .with_kind(SpanKind::Client)
            .with_start_time(begun)
            .with_attributes(attributes.into_iter().chain(common(&generation.to_string())));
        let mut span = tracer.build(builder);
        if let Some(error) = error_of(&outcome.ending) {
            span.set_status(Status::error(error));
        }
        span.end_with_timestamp(begun + outcome.took);
    }
}

fn common(generation: &str) -> [KeyValue; 2] {
    [
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.response.id", generation.to_owned()),
    ]
}

fn error_of(ending: &Ending) -> Option<&'static str> {
    match ending {
        Ending::Refused { error_type, .. } => Some(error_type),
        Ending::Answered(answered) => answered.error,
    }
}

fn answered_attributes(answered: &Answered) -> Vec<KeyValue> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut attributes = vec![
        KeyValue::new("gen_ai.provider.name", answered.provider.clone()),
        KeyValue::new("gen_ai.request.model", answered.model.clone()),
        KeyValue::new("gen_ai.request.stream", answered.streamed),
        KeyValue::new("gen_ai.usage.input_tokens", number(answered.prompt_tokens)),
        KeyValue::new("gen_ai.usage.output_tokens", number(answered.completion_tokens)),
        KeyValue::new("farebox.cancelled", answered.cancelled),
    ];
    if let Some(first) = answered.first_output {
        attributes.push(KeyValue::new("gen_ai.response.time_to_first_chunk", first.as_secs_f64()));
    }
    if let Some(error) = answered.error {
        attributes.push(KeyValue::new("error.type", error));
    }
    if let Some(charge) = answered.charge {
        attributes.push(KeyValue::new("farebox.charge_nano_usd", charge.get()));
    }
    attributes
}
