//! Our messages as Anthropic's conversation: one system prompt, then turns that alternate.
//!
//! Reasoning is replayed in order, with signatures, and only where Anthropic made it.

use super::REASONING_FORMAT;
use super::content::blocks;
use super::wire::{Block, Turn};
use crate::dialect::WireError;
use crate::model::message::{Message, Role};
use crate::model::reasoning::ReasoningDetail;
use crate::model::tool::ToolCall;
use serde_json::value::RawValue;

/// The two places where messages go.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) system: Vec<Block>,
    pub(super) turns: Vec<Turn>,
}

/// Sorts the messages into system and turns. `warnings` gets what the API does not get to see.
/// `thinking`: earlier thinking may be sent only when this request thinks too, else it is left out.
pub(super) fn build(
    messages: Vec<Message>,
    thinking: bool,
    warnings: &mut Vec<String>,
) -> Result<Conversation, WireError> {
    let mut conversation = Conversation::default();
    for mut message in messages {
        note_unsaid(&message, warnings)?;
        let mark = message.cache_control.take();
        let (role, mut said) = match message.role {
            Role::System | Role::Developer => {
                // The API has one system prompt, before everything.
                if !conversation.turns.is_empty() {
                    warnings.push("messages.system_position".to_owned());
                }
                ("system", blocks(message.content)?)
            }
            Role::User => ("user", blocks(message.content)?),
            Role::Tool => ("user", vec![tool_result(message)?]),
            Role::Assistant => ("assistant", assistant(message, thinking, warnings)?),
            Role::Function => return Err(WireError::unsupported("messages of the role `function`")),
        };
        if let (Some(mark), Some(last)) = (mark, said.last_mut()) {
            last.cache(&mark);
        }
        conversation.add(role, said);
    }
    if conversation.turns.is_empty() {
        return Err(WireError::unsupported("a conversation of nothing but system messages or empty ones"));
    }
    Ok(conversation)
}

impl Conversation {
    /// Neighbors of one role are one turn; nothing said is no turn.
    fn add(&mut self, role: &'static str, said: Vec<Block>) {
        if said.is_empty() {
            return;
        }
        if role == "system" {
            self.system.extend(said);
            return;
        }
        match self.turns.last_mut() {
            Some(turn) if turn.role == role => turn.content.extend(said),
            _ => self.turns.push(Turn { role, content: said }),
        }
    }
}

fn note_unsaid(message: &Message, warnings: &mut Vec<String>) -> Result<(), WireError> {
    if message.name.is_some() && message.role != Role::Tool {
        warnings.push("messages.name".to_owned());
    }
    for member in &message.others {
        if matches!(member.as_str(), "function_call" | "audio") {
            return Err(WireError::unsupported(format!("messages with `{member}`")));
        }
        warnings.push(format!("messages.{member}"));
    }
    Ok(())
}

fn tool_result(message: Message) -> Result<Block, WireError> {
    Ok(Block::ToolResult {
        tool_use_id: tool_id(&message.tool_call_id.unwrap_or_default()),
        content: blocks(message.content)?,
        cache_control: None,
    })
}

/// Thinking first, then text, then calls: the order in which the API made them.
fn assistant(message: Message, thinking: bool, warnings: &mut Vec<String>) -> Result<Vec<Block>, WireError> {
    let mut said = Vec::new();
    if thinking {
        said.extend(replay(message.reasoning_details, warnings));
    } else if !message.reasoning_details.is_empty() || message.reasoning.is_some() {
        warnings.push("messages.reasoning".to_owned());
    }
    said.extend(blocks(message.content)?);
    if let Some(refusal) = message.refusal.filter(|text| !text.is_empty()) {
        said.push(Block::text(refusal));
    }
    for call in message.tool_calls {
        said.push(tool_use(call)?);
    }
    Ok(said)
}

/// Thinking blocks from details. Streams give text and signature in pieces with one index, so neighbors
/// of one index are one block. Thinking without a signature, or by another maker, cannot be verified by
/// the API and is left out with a warning.
fn replay(details: Vec<ReasoningDetail>, warnings: &mut Vec<String>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let mut open: Option<(Option<u32>, String)> = None;
    for detail in details {
        let foreign = detail.format.as_deref().is_some_and(|format| format != REASONING_FORMAT);
        if foreign {
            warnings.push("messages.reasoning_details".to_owned());
            continue;
        }
        match detail.kind.as_str() {
            "reasoning.encrypted" => out.extend(detail.data.map(|data| Block::RedactedThinking { data })),
            "reasoning.text" => {
                let mut text = match open.take() {
                    Some((index, text)) if index == detail.index => text,
                    _ => String::new(),
                };
                text.push_str(detail.text.as_deref().unwrap_or_default());
                match detail.signature {
                    Some(signature) => out.push(Block::Thinking { thinking: text, signature }),
                    None => open = Some((detail.index, text)),
                }
            }
            _ => warnings.push("messages.reasoning_details".to_owned()),
        }
    }
    if open.is_some() {
        warnings.push("messages.reasoning_details".to_owned());
    }
    out
}

fn tool_use(call: ToolCall) -> Result<Block, WireError> {
    let arguments = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments };
    let input = RawValue::from_string(arguments)
        .ok()
        .filter(|input| input.get().starts_with('{'))
        .ok_or_else(|| WireError::unsupported("tool calls whose arguments are not a JSON object"))?;
    Ok(Block::ToolUse { id: tool_id(&call.id), name: call.name, input, cache_control: None })
}

/// The API takes only `[a-zA-Z0-9_-]` in ids; other makers' ids have dots and colons (Kimi's
/// `functions.name:0`). The same change on call and result keeps the pair.
fn tool_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
