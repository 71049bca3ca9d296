//! The `usage` object of this face. Money comes in as JSON text, made by who may compute it.

use crate::json::ObjectWriter;
use kernel::Usage;

/// Token counts in OpenAI's shape, followed by `extras`: names with JSON values, such as
/// `("cost", "0.00125")` and `("is_byok", "false")`.
#[must_use]
pub fn render_usage(usage: &Usage, extras: &[(&str, &str)]) -> String {
    let mut out = ObjectWriter::open(Vec::new());
    out.value("prompt_tokens", &usage.prompt);
    out.value("completion_tokens", &usage.completion);
    out.value("total_tokens", &usage.total());
    out.with("prompt_tokens_details", |bytes| {
        let mut details = ObjectWriter::open(bytes);
        details.value("cached_tokens", &usage.cache_read);
        details.value("cache_write_tokens", &usage.cache_write.saturating_add(usage.cache_write_1h));
        details.value("audio_tokens", &usage.audio_prompt);
        details.close()
    });
    out.with("completion_tokens_details", |bytes| {
        let mut details = ObjectWriter::open(bytes);
        details.value("reasoning_tokens", &usage.reasoning);
        details.value("audio_tokens", &usage.audio_completion);
        details.close()
    });
    for (name, json) in extras {
        out.raw(name, json);
    }
    String::from_utf8_lossy(&out.close()).into_owned()
}
