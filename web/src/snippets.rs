//! Quickstart code: the same call in three languages, filled with this site's base URL.

/// Ready-to-paste code.
pub(crate) struct Snippets {
    pub curl: String,
    pub python: String,
    pub typescript: String,
}

impl Snippets {
    /// `key` is a real key on the one page that shows it, else a placeholder.
    pub(crate) fn new(api_base: &str, key: &str, model: &str) -> Self {
        Self {
            curl: format!(
                r#"curl {api_base}/chat/completions \
  -H "Authorization: Bearer {key}" \
  -H "Content-Type: application/json" \
  -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "Say hello"}}]
  }}'"#
            ),
            python: format!(
                r#"from openai import OpenAI

client = OpenAI(
    base_url="{api_base}",
    api_key="{key}",
)
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Say hello"}}],
)
print(answer.choices[0].message.content)"#
            ),
            typescript: format!(
                r#"import OpenAI from "openai";

const client = new OpenAI({{
  baseURL: "{api_base}",
  apiKey: "{key}",
}});
const answer = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "Say hello" }}],
}});
console.log(answer.choices[0].message.content);"#
            ),
        }
    }
}

/// What stands for a key where none may be shown.
pub(crate) const PLACEHOLDER: &str = "$FAREBOX_API_KEY";

/// A model for a first call: cheap, chat, text in and out; `None` while nothing is for sale.
pub(crate) fn starter_model(snapshot: &catalog::Snapshot) -> Option<&catalog::Model> {
    let text = catalog::Modality::Text;
    let chats =
        |model: &catalog::Model| model.output_modalities == [text] && model.input_modalities.contains(&text);
    let listings = snapshot.listings().iter().filter(|listing| chats(&listing.model));
    // Among the models that most providers serve, the newest: the likeliest to answer.
    listings.max_by_key(|listing| (listing.endpoints.len(), listing.model.created)).map(|l| &l.model)
}
