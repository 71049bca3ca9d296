//! A streamed answer of the Messages API: events to our events.
//!
//! Event names are ignored: the `type` in the data says the same. Unknown types are skipped, as the API
//! asks of its clients.

use super::response::BlockWire;
use super::{REASONING_FORMAT, wire};
use crate::dialect::{StreamReader, WireError};
use crate::model::event::{Delta, StreamEvent, ToolCallDelta};
use crate::model::reasoning::ReasoningDetail;
use crate::sse::SseReader;
use serde::Deserialize;
use serde_json::Value;

/// Bytes to events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sse: SseReader,
    state: State,
}

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        let state = &mut self.state;
        self.sse.push(bytes, &mut |frame| state.frame(frame.data, out))
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        let state = &mut self.state;
        self.sse.finish(&mut |frame| state.frame(frame.data, out))?;
        state.finish(out)
    }
}

/// One event: the members of all types, flat.
#[derive(Deserialize)]
struct EventWire {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    index: u32,
    message: Option<MessageWire>,
    content_block: Option<BlockWire>,
    delta: Option<DeltaWire>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct MessageWire {
    id: Option<String>,
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Default, Deserialize)]
struct DeltaWire {
    text: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    partial_json: Option<String>,
    stop_reason: Option<String>,
}

/// What an open block is, and which of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Reasoning(u32),
    /// `spoken`: some arguments were sent.
    Tool {
        call: u32,
        spoken: bool,
    },
    Other,
}

#[derive(Debug, Default)]
struct State {
    counts: wire::Counts,
    /// Open blocks by the index of the event. Few at a time, so a list.
    open: Vec<(u32, Open)>,
    reasonings: u32,
    calls: u32,
    /// The role went out with the first piece. Not before: until the model speaks, a failure can be tried
    /// elsewhere.
    spoke: bool,
    finished: bool,
    failed: bool,
    done: bool,
}

impl State {
    fn frame(&mut self, data: &str, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        if self.failed || self.done || data.is_empty() {
            return Ok(());
        }
        let event: EventWire =
            serde_json::from_str(data).map_err(|error| WireError::malformed("stream event", &error))?;
        match event.kind.as_str() {
            "message_start" => self.start(event.message, out),
            "content_block_start" => {
                self.open_block(event.index, event.content_block.unwrap_or_default(), out)
            }
            "content_block_delta" => self.delta(event.index, event.delta.unwrap_or_default(), out),
            "content_block_stop" => self.close_block(event.index, out),
            "message_delta" => self.message_delta(event, out),
            "message_stop" => {
                self.done = true;
                if !self.finished {
                    return Err(WireError::Truncated);
                }
                out.push(StreamEvent::Done);
            }
            "error" => {
                self.failed = true;
                out.push(StreamEvent::Error(wire::failure(None, &event.error.unwrap_or(Value::Null))));
            }
            // `ping`, and whatever comes in later versions.
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, message: Option<MessageWire>, out: &mut Vec<StreamEvent>) {
        let (upstream_id, model, usage) = message.map_or((None, None, None), |m| (m.id, m.model, m.usage));
        out.push(StreamEvent::Start { upstream_id, model });
        if let Some(usage) = usage.filter(|usage| !usage.is_null()) {
            // The prompt's exact count, with caches: what an answer that breaks off is billed by.
            self.count(&usage, out);
        }
    }

    fn count(&mut self, usage: &Value, out: &mut Vec<StreamEvent>) {
        let counted = wire::usage(usage, &self.counts).and_then(|counts| {
            self.counts = counts;
            counts.to_usage()
        });
        out.push(match counted {
            Ok(usage) => StreamEvent::Usage(usage),
            Err(fault) => StreamEvent::UsageFault(fault),
        });
    }

    fn open_block(&mut self, at: u32, block: BlockWire, out: &mut Vec<StreamEvent>) {
        let open = match block.kind.as_str() {
            "text" => Open::Text,
            "thinking" => Open::Reasoning(next(&mut self.reasonings)),
            "redacted_thinking" => {
                let index = next(&mut self.reasonings);
                let detail =
                    ReasoningDetail::encrypted(block.data.unwrap_or_default(), REASONING_FORMAT, index);
                self.push(out, Delta { reasoning_details: vec![detail], ..Delta::default() });
                Open::Reasoning(index)
            }
            "tool_use" => {
                let call = next(&mut self.calls);
                // Normally `{}` here and the arguments in deltas; models without fine streaming may send
                // them whole.
                let whole =
                    block.input.as_ref().map(|input| input.get().trim()).filter(|input| *input != "{}");
                let arguments = whole.unwrap_or_default().to_owned();
                let spoken = !arguments.is_empty();
                self.push_call(
                    out,
                    ToolCallDelta {
                        index: call,
                        id: block.id,
                        name: block.name,
                        arguments,
                        extra_content: None,
                    },
                );
                Open::Tool { call, spoken }
            }
            _ => Open::Other,
        };
        self.open.push((at, open));
        // A block may begin with its first words.
        let (text, thinking, signature) = (block.text, block.thinking, block.signature);
        self.delta(at, DeltaWire { text, thinking, signature, ..DeltaWire::default() }, out);
    }

    fn delta(&mut self, at: u32, delta: DeltaWire, out: &mut Vec<StreamEvent>) {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let Some(position) = self.open.iter().position(|(index, _)| *index == at) else { return };
        let Some((_, open)) = self.open.get_mut(position) else { return };
        match *open {
            Open::Text => {
                if let Some(text) = said(delta.text) {
                    self.push(out, Delta { content: Some(text), ..Delta::default() });
                }
            }
            Open::Reasoning(index) => {
                if let Some(text) = said(delta.thinking) {
                    let reasoning_details =
                        vec![ReasoningDetail::text(text.clone(), REASONING_FORMAT, index)];
                    self.push(out, Delta { reasoning: Some(text), reasoning_details, ..Delta::default() });
                }
                if let Some(signature) = said(delta.signature) {
                    let detail = ReasoningDetail::signature(signature, REASONING_FORMAT, index);
                    self.push(out, Delta { reasoning_details: vec![detail], ..Delta::default() });
                }
            }
            Open::Tool { call, .. } => {
                if let Some(arguments) = said(delta.partial_json) {
                    *open = Open::Tool { call, spoken: true };
                    self.push_call(out, ToolCallDelta { index: call, arguments, ..ToolCallDelta::default() });
                }
            }
            Open::Other => {}
        }
    }

    /// A call without arguments never sent any; clients parse the empty object.
    fn close_block(&mut self, at: u32, out: &mut Vec<StreamEvent>) {
        let Some(position) = self.open.iter().position(|(index, _)| *index == at) else { return };
        if let (_, Open::Tool { call, spoken: false }) = self.open.swap_remove(position) {
            let arguments = "{}".to_owned();
            self.push_call(out, ToolCallDelta { index: call, arguments, ..ToolCallDelta::default() });
        }
    }

    fn message_delta(&mut self, event: EventWire, out: &mut Vec<StreamEvent>) {
        if let Some(native) = event.delta.and_then(|delta| delta.stop_reason) {
            self.finished = true;
            let reason = wire::finish_reason(&native);
            out.push(StreamEvent::Finish { choice: 0, reason, native: Some(native) });
        }
        if let Some(usage) = event.usage.filter(|usage| !usage.is_null()) {
            self.count(&usage, out);
        }
    }

    fn push(&mut self, out: &mut Vec<StreamEvent>, delta: Delta) {
        let role = (!std::mem::replace(&mut self.spoke, true)).then(|| "assistant".to_owned());
        out.push(StreamEvent::Delta(Box::new(Delta { role, ..delta })));
    }

    fn push_call(&mut self, out: &mut Vec<StreamEvent>, call: ToolCallDelta) {
        self.push(out, Delta { tool_calls: vec![call], ..Delta::default() });
    }

    /// The upstream closed. A stop reason without `message_stop` is still a whole answer.
    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), WireError> {
        if self.done || self.failed {
            return Ok(());
        }
        if !self.finished {
            return Err(WireError::Truncated);
        }
        self.done = true;
        out.push(StreamEvent::Done);
        Ok(())
    }
}

fn next(counter: &mut u32) -> u32 {
    let now = *counter;
    *counter = now.saturating_add(1);
    now
}
