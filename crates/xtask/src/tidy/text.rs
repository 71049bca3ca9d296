//! Rules about text: opening comments, sizes, names, words that must not appear, references that must resolve.

use super::tree::{Source, Tree};

/// Lines of a Rust file without its tests. Split a file by what it answers, not by its length.
const LONGEST: usize = 500;

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["mod.rs", "common.rs", "utils.rs", "util.rs", "helpers.rs", "types.rs"];

/// Notes to oneself belong to the issue tracker. Assembled, so that this file does not breach its own rule.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Traces of where the tree was made; they mean nothing to a reader.
const TRACES: [&str; 5] = [
    concat!("../", "shared"),
    concat!("/work", "/main"),
    concat!("/work", "/shared"),
    concat!("during this ", "session"),
    concat!("in this ", "session"),
];

/// The pipeline is the same for every provider, so it names none of them, and no dialect.
const PROVIDERS: [&str; 16] = [
    "openai",
    "anthropic",
    "gemini",
    "google",
    "mistral",
    "groq",
    "deepseek",
    "cohere",
    "bedrock",
    "azure",
    "ollama",
    "openrouter",
    "fireworks",
    "xai",
    "vllm",
    "perplexity",
];

/// What pure crates must not say in product code.
const IMPURITIES: [&str; 6] = ["async fn", "async move", ".await", "tokio::", "reqwest::", "std::env::"];

pub(super) fn breaches(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        breaches.extend(rust_file(file));
    }
    for file in &tree.files {
        breaches.extend(words(file));
        breaches.extend(records(tree, file));
    }
    breaches.extend(migrations(tree));
    breaches
}

fn rust_file(file: &Source) -> Vec<String> {
    let path = &file.path;
    let mut breaches = Vec::new();
    if !file.text.starts_with("//!") {
        breaches.push(format!("{path}: does not open with `//!` lines that say what it is for"));
    }
    let length = file.product_lines().count();
    if !file.is_test() && length > LONGEST {
        breaches.push(format!("{path}: {length} lines without tests, {LONGEST} at most"));
    }
    if EMPTY_NAMES.iter().any(|name| path.rsplit('/').next() == Some(*name)) {
        breaches.push(format!("{path}: the file's name does not say what it holds"));
    }
    if path.contains("gateway/src/stage/") || path.ends_with("gateway/src/pipeline.rs") {
        breaches.extend(mentions(file, &PROVIDERS, "the pipeline names no provider or dialect"));
    }
    let pure = ["crates/kernel/src/", "crates/dialects/src/", "crates/routing/src/"];
    if pure.iter().any(|krate| path.starts_with(krate)) {
        breaches.extend(mentions(file, &IMPURITIES, "this crate is pure"));
    }
    if file.text.lines().any(|line| line.trim_start().starts_with("#[ignore")) {
        breaches.push(format!("{path}: a test that never runs; delete it or run it"));
    }
    breaches
}

/// Product lines that contain one of the words, whatever their case.
fn mentions(file: &Source, words: &[&str], why: &str) -> Vec<String> {
    let lines = file.product_lines().enumerate();
    let found = lines.filter_map(|(index, line)| {
        let line = line.to_lowercase();
        let word = words.iter().find(|word| line.contains(**word))?;
        Some(format!("{}:{}: says `{word}`: {why}", file.path, index + 1))
    });
    found.collect()
}

fn words(file: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    let in_template = file.path.contains("/templates/");
    for (index, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, index + 1);
        if let Some(note) = NOTES.iter().find(|note| contains_word(line, note)) {
            breaches.push(format!("{place}: {note}; do it or file it"));
        }
        if let Some(trace) = TRACES.iter().find(|trace| line.contains(**trace)) {
            breaches.push(format!("{place}: `{trace}` means nothing to a reader"));
        }
        let squeezed = line.replace(' ', "");
        if in_template
            && (squeezed.contains("|safe}") || squeezed.contains("|safe|") || squeezed.contains("|safe%"))
        {
            breaches
                .push(format!("{place}: `|safe` switches escaping off; pass a type that is HTML already"));
        }
    }
    breaches
}

/// Whether the word stands alone, not inside a longer one.
fn contains_word(line: &str, word: &str) -> bool {
    let joined = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !joined(before) && !joined(after)
    })
}

/// A record referred to by path or as `ADR` and four digits must be there.
fn records(tree: &Tree, file: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for mark in ["adr/", "ADR ", "ADR-"] {
        for (at, _) in file.text.match_indices(mark) {
            let rest = file.text.get(at + mark.len()..).unwrap_or_default();
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let wanted = format!("docs/adr/{number}");
            if number.len() == 4 && !tree.files.iter().any(|other| other.path.starts_with(&wanted)) {
                breaches.push(format!("{}: refers to {wanted}, which does not exist", file.path));
            }
        }
    }
    breaches
}

/// `NNNN_name.sql`, every number once.
fn migrations(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut last = String::new();
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix("migrations/").filter(|name| name.ends_with(".sql")) else {
            continue;
        };
        let number: String = name.chars().take_while(char::is_ascii_digit).collect();
        if number.len() != 4 || !name.starts_with(&format!("{number}_")) {
            breaches.push(format!("{}: not named NNNN_name.sql", file.path));
        }
        if number == last {
            breaches.push(format!("{}: the number {number} is taken", file.path));
        }
        last = number;
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn each_rule_finds_its_breach_and_lets_good_text_pass() {
        let note = format!("//! x\n// {}: later", NOTES[0]);
        let trace = format!("see {}/design", TRACES[0]);
        let long = "//! x\n".repeat(LONGEST + 1);
        let cases = [
            ("crates/a/src/a.rs", "//! Says why.\nfn a() {}", 0),
            ("crates/a/src/a.rs", "fn a() {}", 1),
            ("crates/a/src/utils.rs", "//! x", 1),
            ("crates/a/src/a.rs", long.as_str(), 1),
            ("crates/a/tests/it/a.rs", long.as_str(), 0),
            ("crates/a/src/a.rs", note.as_str(), 1),
            ("docs/a.md", trace.as_str(), 1),
            ("crates/gateway/src/pipeline.rs", "//! x\nlet OpenAI = 1;", 1),
            ("crates/gateway/src/stage/call.rs", "//! x\n#[cfg(test)]\nmod tests {\n\"openai\"\n}", 0),
            ("crates/dialects/src/a.rs", "//! x\nasync fn a() {}", 1),
            ("crates/gateway/src/a.rs", "//! x\nasync fn a() {}", 0),
            ("web/templates/a.html", "{{ name | safe }}", 1),
            ("web/templates/a.html", "{{ name|safely }} is safe", 0),
            ("docs/a.md", concat!("see ADR", " 9999"), 1),
            ("docs/a.md", concat!("see docs/adr", "/9998-name.md"), 1),
            ("docs/a.md", "see adr/ for all", 0),
            ("migrations/1_a.sql", "SELECT 1", 1),
            ("migrations/0001_a.sql", "SELECT 1", 0),
        ];
        for (path, text, wanted) in cases {
            let found = breaches(&Tree { files: vec![source(path, text)] });
            assert_eq!(found.len(), wanted, "{path}: {text:.60} gave {found:?}");
        }
    }

    #[test]
    fn two_migrations_with_one_number_are_found() {
        let files = vec![source("migrations/0001_a.sql", ""), source("migrations/0001_b.sql", "")];
        assert_eq!(breaches(&Tree { files }).len(), 1);
    }
}
