//! Customers' spellings of models.

use crate::fixture;
use catalog::ModelRef;

#[test]
fn other_spellings_find_the_same_listing() {
    let live = fixture::seed();
    let rows = [
        ("anthropic/claude-sonnet-4.5", Some("anthropic/claude-sonnet-4.5")),
        ("anthropic/claude-sonnet-4-5", Some("anthropic/claude-sonnet-4.5")),
        ("anthropic/claude-sonnet-4-5-20250929:nitro", Some("anthropic/claude-sonnet-4.5")),
        ("qwen/qwen3-coder-480b-a35b-instruct", Some("qwen/qwen3-coder")),
        ("OpenAI/GPT-4.1-mini:floor", Some("openai/gpt-4.1-mini")),
        ("openai/gpt-4.1-mini:free", None),
        ("openai/gpt-17", None),
    ];
    for (text, expected) in rows {
        let found = ModelRef::parse(text).unwrap().resolve(&live).map(|l| l.model.slug.clone());
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}
