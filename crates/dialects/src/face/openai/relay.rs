//! One streamed answer on its way to the client, whatever dialect it comes in.

use super::chunk::append_chunk;
use super::context::FaceContext;
use super::passthrough::PassThrough;
use crate::dialect::{Dialect, StreamReader, WireError};
use crate::model::event::StreamEvent;
use crate::model::failure::UpstreamFailure;
use crate::model::finish::FinishReason;
use bytes::Bytes;
use kernel::Usage;

/// What one piece of upstream bytes came to.
#[derive(Debug, Default)]
pub struct Passed {
    /// Whole frames, ready to send; often empty. Never the usage, errors or `[DONE]`: those are yours.
    pub bytes: Bytes,
    /// The provider's id of the answer, once.
    pub upstream_id: Option<String>,
    /// The last count in this piece. Later ones replace it.
    pub usage: Option<Usage>,
    /// A count nobody can bill.
    pub usage_fault: Option<WireError>,
    /// The last finish in this piece, with the provider's own word. Already in `bytes`.
    pub finish: Option<(FinishReason, Option<String>)>,
    /// The provider failed; nothing more will come.
    pub error: Option<UpstreamFailure>,
    /// The provider said that the answer is complete.
    pub done: bool,
}

impl Passed {
    /// Keeps what the gateway must know of an event.
    pub(super) fn note(&mut self, event: StreamEvent, text: &mut String) {
        match event {
            StreamEvent::Start { upstream_id, .. } => self.upstream_id = upstream_id,
            StreamEvent::Delta(delta) => delta.append_text(text),
            StreamEvent::Finish { reason, native, .. } => self.finish = Some((reason, native)),
            StreamEvent::Usage(usage) => self.usage = Some(usage),
            StreamEvent::UsageFault(fault) => self.usage_fault = Some(fault),
            StreamEvent::Error(failure) => self.error = Some(failure),
            StreamEvent::Done => self.done = true,
        }
    }
}

/// Upstream bytes in, client bytes out. Same-dialect streams take the pass-through.
pub struct Relay {
    context: FaceContext,
    source: Source,
}

enum Source {
    Same(Box<PassThrough>),
    Translated(Box<dyn StreamReader>),
}

impl Relay {
    #[must_use]
    pub fn new(dialect: &dyn Dialect, context: FaceContext) -> Self {
        let source = if dialect.name() == "openai" {
            Source::Same(Box::new(PassThrough::new(context.clone())))
        } else {
            Source::Translated(dialect.stream_reader())
        };
        Self { context, source }
    }

    /// Identity of the answer, for the usage and error chunks.
    #[must_use]
    pub fn context(&self) -> &FaceContext {
        &self.context
    }

    /// Reads the next upstream bytes. `text` collects all that a tokenizer would count of the answer. An
    /// error ends the stream; what came before it in the same piece is in `passed`, which must come fresh.
    pub fn push(&mut self, bytes: &[u8], text: &mut String, passed: &mut Passed) -> Result<(), WireError> {
        match &mut self.source {
            Source::Same(pass) => pass.push(bytes, text, passed),
            Source::Translated(reader) => {
                let mut events = Vec::new();
                let outcome = reader.push(bytes, &mut events);
                render(events, &self.context, text, passed);
                outcome
            }
        }
    }

    /// The upstream closed.
    pub fn finish(&mut self, text: &mut String, passed: &mut Passed) -> Result<(), WireError> {
        match &mut self.source {
            Source::Same(pass) => pass.finish(text, passed),
            Source::Translated(reader) => {
                let mut events = Vec::new();
                let outcome = reader.finish(&mut events);
                render(events, &self.context, text, passed);
                outcome
            }
        }
    }
}

fn render(events: Vec<StreamEvent>, context: &FaceContext, text: &mut String, passed: &mut Passed) {
    let mut out = Vec::new();
    for event in events {
        append_chunk(&event, context, &mut out);
        passed.note(event, text);
    }
    passed.bytes = Bytes::from(out);
}
