//! A request as the answer maker sees it, whichever wire format it came in. Holds no answer.

use serde_json::Value;

use super::script::Script;
use super::tokens;

#[derive(Debug, Default)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Whether the stream shall end with a usage frame (OpenAI's `stream_options.include_usage`).
    pub(crate) include_usage: bool,
    /// Text of each message, system prompt first.
    pub(crate) messages: Vec<String>,
    pub(crate) small_images: u64,
    pub(crate) images: u64,
    /// The last user message without its script.
    pub(crate) question: String,
    /// The script found in it.
    pub(crate) script: Option<Script>,
    /// Whether the last message is a tool's result, which is answered in words.
    pub(crate) after_tool: bool,
    pub(crate) tools: Vec<Tool>,
    /// The tool list as compact JSON, for counting.
    pub(crate) tools_text: String,
    pub(crate) choice: ToolChoice,
    pub(crate) format: Format,
    pub(crate) reasoning: bool,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    /// How many choices are wanted, at least 1.
    pub(crate) choices: u64,
    /// Ends of cacheable prompt prefixes, shortest first (Anthropic's `cache_control`).
    pub(crate) cache_points: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) schema: Value,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

#[derive(Debug, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Schema(Value),
}

impl Ask {
    /// Tokens of the whole prompt by the formula of [`tokens`].
    pub(crate) fn prompt_tokens(&self) -> u64 {
        let texts: u64 = self.messages.iter().map(|text| tokens::PER_MESSAGE + tokens::count(text)).sum();
        let tools = if self.tools.is_empty() { 0 } else { tokens::count(&self.tools_text) };
        texts
            + tools
            + tokens::PER_REPLY
            + self.small_images * tokens::PER_SMALL_IMAGE
            + self.images * tokens::PER_IMAGE
    }

    /// The tool this request shall be answered with, if any: the forced one, or in automatic mode one that
    /// the question names (its whole name, or one of its words of four letters or more).
    pub(crate) fn wanted_tool(&self) -> Option<&Tool> {
        match &self.choice {
            ToolChoice::None => None,
            ToolChoice::Required => self.tools.first(),
            ToolChoice::Named(name) => self.tools.iter().find(|tool| tool.name == *name),
            ToolChoice::Auto if self.after_tool => None,
            ToolChoice::Auto => {
                let question = self.question.to_lowercase();
                self.tools.iter().find(|tool| tool.is_named_in(&question))
            }
        }
    }
}

impl Tool {
    fn is_named_in(&self, question: &str) -> bool {
        let name = self.name.to_lowercase();
        if question.contains(&name) {
            return true;
        }
        let words: Vec<&str> = question.split(|c: char| !c.is_alphanumeric()).collect();
        name.split(|c: char| !c.is_alphanumeric()).any(|part| part.len() >= 4 && words.contains(&part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(question: &str, choice: ToolChoice, after_tool: bool) -> Ask {
        let tool = |name: &str| Tool { name: name.to_owned(), schema: json!({}) };
        Ask {
            question: question.to_owned(),
            choice,
            after_tool,
            tools: vec![tool("get_weather"), tool("send_mail")],
            ..Ask::default()
        }
    }

    #[test]
    fn a_tool_is_called_when_forced_or_named_by_the_question() {
        let cases = [
            ("What is the weather in Paris?", ToolChoice::Auto, false, Some("get_weather")),
            ("please send_mail now", ToolChoice::Auto, false, Some("send_mail")),
            ("Get me a coffee", ToolChoice::Auto, false, None),
            ("weather", ToolChoice::Auto, true, None),
            ("weather", ToolChoice::None, false, None),
            ("hello", ToolChoice::Required, false, Some("get_weather")),
            ("hello", ToolChoice::Named("send_mail".to_owned()), false, Some("send_mail")),
        ];
        for (question, choice, after_tool, expected) in cases {
            let ask = ask(question, choice, after_tool);
            assert_eq!(ask.wanted_tool().map(|tool| tool.name.as_str()), expected, "{question}");
        }
    }
}
