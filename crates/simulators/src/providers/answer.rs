//! What the simulated model says: the same for the same request, readable, and counted. It knows no wire
//! format and no time.

use super::ask::{Ask, Format};
use super::schema;
use super::script::Script;
use super::tokens::{self, Counted};

/// Sentences that fill an answer up to its length.
const SENTENCES: [&str; 8] = [
    "No model was asked, and nothing here should be taken as advice.",
    "The words were picked from a short list by the shape of your prompt.",
    "Asking the same question again gives the same answer.",
    "A real provider would have thought about it for a moment.",
    "Token counts are computed with a public vocabulary.",
    "Everything else about the response follows the real wire format.",
    "You can steer this reply with a script in the message.",
    "Have a pleasant day of testing.",
];
const THOUGHT: &str =
    "The user asked something. A simulated model need not think long, so it picks a plain answer.";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    StopSequence(String),
    Length,
    Tool,
    /// A reason given by the script, sent as it is.
    Custom(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    /// JSON text.
    pub(crate) arguments: String,
}

/// What was used, in tokens. `completion` includes `reasoning`; `prompt` includes both cache figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reasoning: String,
    pub(crate) text: String,
    pub(crate) tool: Option<ToolCall>,
    pub(crate) finish: Finish,
    pub(crate) tally: Tally,
}

/// Makes the answer. Cache figures are the caller's to add.
pub(crate) fn make(ask: &Ask, script: &Script) -> Answer {
    let prompt = script.prompt_tokens.unwrap_or_else(|| ask.prompt_tokens());
    let mut answer = if script.empty { silence() } else { speak(ask, script) };
    answer.tally.prompt = prompt;
    answer.tally.completion *= ask.choices.max(1);
    answer.tally.reasoning *= ask.choices.max(1);
    answer.tally.cache_read = script.cached_tokens.unwrap_or(0);
    if let Some(reason) = &script.finish {
        answer.finish = Finish::Custom(reason.clone());
    }
    answer
}

fn silence() -> Answer {
    Answer {
        reasoning: String::new(),
        text: String::new(),
        tool: None,
        finish: Finish::Stop,
        tally: Tally::default(),
    }
}

fn speak(ask: &Ask, script: &Script) -> Answer {
    let budget = ask.max_tokens.unwrap_or(usize::MAX);
    let thought_room = script.completion_tokens.map_or(budget, |tokens| budget.min(tokens / 2));
    let thought = if ask.reasoning { tokens::clip(THOUGHT, thought_room) } else { Counted::default() };
    let room = budget.saturating_sub(thought.tokens);
    // A script's own words win over a tool call that the prompt would have led to.
    let scripted = script.text.is_some() || script.completion_tokens.is_some();
    match ask.wanted_tool().filter(|_| !scripted) {
        Some(tool) => {
            let arguments = schema::example(&tool.schema).to_string();
            let name = tokens::clip(&tool.name, room);
            let arguments = tokens::clip(&arguments, room.saturating_sub(name.tokens));
            let finish = if arguments.clipped || name.clipped { Finish::Length } else { Finish::Tool };
            let call = ToolCall { name: tool.name.clone(), arguments: arguments.text };
            finished(thought, String::new(), name.tokens + arguments.tokens, finish, Some(call))
        }
        None => {
            let (said, finish) = words(ask, script, thought.tokens, room);
            finished(thought, said.text, said.tokens, finish, None)
        }
    }
}

fn finished(thought: Counted, text: String, said: usize, finish: Finish, tool: Option<ToolCall>) -> Answer {
    let reasoning = u64::try_from(thought.tokens).unwrap_or(u64::MAX);
    let said = u64::try_from(said).unwrap_or(u64::MAX);
    let tally = Tally { completion: reasoning + said, reasoning, ..Tally::default() };
    Answer { reasoning: thought.text, text, tool, finish, tally }
}

/// The text of the answer, cut by stop sequences first and by the token limit second.
fn words(ask: &Ask, script: &Script, thought: usize, room: usize) -> (Counted, Finish) {
    if let Some(forced) = script.completion_tokens {
        let wanted = forced.saturating_sub(thought);
        let said = tokens::exactly(wanted.min(room));
        return if wanted > room { (said, Finish::Length) } else { (said, Finish::Stop) };
    }
    let text = match (&script.text, &ask.format) {
        (Some(text), _) => text.clone(),
        (None, Format::Schema(schema)) => schema::example(schema).to_string(),
        (None, Format::Json) => serde_json::json!({ "answer": prose(ask) }).to_string(),
        (None, Format::Text) => prose(ask),
    };
    let (text, stopped) = stop_at(text, &ask.stop);
    let said = tokens::clip(&text, room);
    let finish = match stopped {
        _ if said.clipped => Finish::Length,
        Some(sequence) => Finish::StopSequence(sequence),
        None => Finish::Stop,
    };
    (said, finish)
}

/// Cuts before the earliest stop sequence and tells which one it was.
fn stop_at(text: String, stop: &[String]) -> (String, Option<String>) {
    let earliest = stop
        .iter()
        .filter(|sequence| !sequence.is_empty())
        .filter_map(|sequence| text.find(sequence.as_str()).map(|at| (at, sequence)))
        .min_by_key(|(at, _)| *at);
    match earliest {
        Some((at, sequence)) => (text.get(..at).unwrap_or_default().to_owned(), Some(sequence.clone())),
        None => (text, None),
    }
}

/// A few sentences, between 20 and 60 words.
fn prose(ask: &Ask) -> String {
    let asked: Vec<&str> = ask.question.split_whitespace().take(8).collect();
    let mut text = format!("This is a simulated answer from {}.", ask.model);
    if !asked.is_empty() {
        text = format!("{text} You asked: \"{}\".", asked.join(" "));
    }
    let seed = ask.question.bytes().fold(7_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 9_973);
    for step in 0..3 {
        let sentence = SENTENCES.get((seed + step) % SENTENCES.len()).copied().unwrap_or_default();
        text = format!("{text} {sentence}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: &str) -> Ask {
        Ask { model: "sim-1".to_owned(), question: question.to_owned(), choices: 1, ..Ask::default() }
    }

    #[test]
    fn the_same_question_gets_the_same_answer_of_20_to_60_words() {
        for question in ["hi", "What is the capital of France and why is it there?", ""] {
            let first = make(&ask(question), &Script::default());
            assert_eq!(first, make(&ask(question), &Script::default()));
            let words = first.text.split_whitespace().count();
            assert!((20..=60).contains(&words), "{words} words: {}", first.text);
            assert_eq!(first.tally.completion, tokens::count(&first.text));
        }
    }

    #[test]
    fn limits_and_stop_sequences_end_the_text() {
        let limited = Ask { max_tokens: Some(5), ..ask("hi") };
        let answer = make(&limited, &Script::default());
        assert_eq!((answer.tally.completion, answer.finish), (5, Finish::Length));
        let stopped = Ask { stop: vec!["never".to_owned(), " simulated".to_owned()], ..ask("hi") };
        let answer = make(&stopped, &Script::default());
        assert_eq!(answer.text, "This is a");
        assert_eq!(answer.finish, Finish::StopSequence(" simulated".to_owned()));
    }

    #[test]
    fn a_forced_token_count_includes_the_reasoning() {
        let script = Script { completion_tokens: Some(40), ..Script::default() };
        let plain = make(&ask("hi"), &script);
        let thinking = make(&Ask { reasoning: true, ..ask("hi") }, &script);
        assert_eq!((plain.tally.completion, thinking.tally.completion), (40, 40));
        assert!(thinking.tally.reasoning > 0);
    }
}
