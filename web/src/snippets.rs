//! Quickstart code: the same call in three languages, filled with this site's base URL.

/// Ready-to-paste code.
pub(crate) struct Snippets {
    pub curl: String,
    pub python: String,
    pub typescript: String,
}

impl Snippets {
    /// With a real key on the one page that shows it; elsewhere the code reads it from the environment.
    pub(crate) fn new(api_base: &str, key: Option<&str>, model: &str) -> Self {
        let in_shell = key.unwrap_or("$FAREBOX_API_KEY");
        let quoted = key.map(|key| format!("\"{key}\""));
        let in_python = quoted.clone().unwrap_or_else(|| "os.environ[\"FAREBOX_API_KEY\"]".to_owned());
        let in_node = quoted.unwrap_or_else(|| "process.env.FAREBOX_API_KEY".to_owned());
        let import = if key.is_some() { "" } else { "import os\n" };
        Self {
            curl: format!(
                r#"curl {api_base}/chat/completions \
  -H "Authorization: Bearer {in_shell}" \
  -H "Content-Type: application/json" \
  -d '{{
    "model": "{model}",
    "messages": [{{"role": "user", "content": "Say hello"}}]
  }}'"#
            ),
            python: format!(
                r#"{import}from openai import OpenAI

client = OpenAI(
    base_url="{api_base}",
    api_key={in_python},
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
  apiKey: {in_node},
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

/// A model for a first call: cheap, chat, text in and out; `None` while nothing is for sale.
pub(crate) fn starter_model(snapshot: &catalog::Snapshot) -> Option<&catalog::Model> {
    let text = catalog::Modality::Text;
    let chats =
        |model: &catalog::Model| model.output_modalities == [text] && model.input_modalities.contains(&text);
    let listings = snapshot.listings().iter().filter(|listing| chats(&listing.model));
    // Among the models that most providers serve, the newest: the likeliest to answer.
    listings.max_by_key(|listing| (listing.endpoints.len(), listing.model.created)).map(|l| &l.model)
}
