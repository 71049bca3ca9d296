//! `farebox provider add`: an OpenAI-compatible server of one's own (Ollama, vLLM, llama.cpp) goes live at once.

use crate::commands::{catalog as catalog_command, say};
use anyhow::Context as _;
use catalog::draft::{DraftContent, EndpointDraft};
use catalog::ports::CatalogDesk as _;
use catalog::{Modality, Model, Provider, Rates};
use kernel::PicoUsd;
use kernel::clock::{Clock as _, SystemClock};
use store_postgres::PgStore;

/// What the command line says of the provider.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// A short name: lower-case letters, digits and dashes
    name: String,
    /// Its OpenAI-compatible base URL, e.g. http://localhost:11434/v1
    #[arg(long)]
    base_url: String,
    /// A model it serves, as it calls it; repeat for more
    #[arg(long, required = true)]
    model: Vec<String>,
    /// Dollars per million prompt tokens, e.g. 0.15
    #[arg(long)]
    price_prompt: String,
    /// Dollars per million completion tokens
    #[arg(long)]
    price_completion: String,
    /// Environment variable with its API key; without one it is called without a key
    #[arg(long)]
    credential_env: Option<String>,
    /// Prompt and completion together
    #[arg(long, default_value_t = 32_768)]
    context_length: u32,
    #[arg(long, default_value_t = 8_192)]
    max_completion_tokens: u32,
}

/// Makes a draft of it and publishes it.
pub(crate) async fn add(store: &PgStore, add: &Add) -> anyhow::Result<()> {
    let content = draft(add)?;
    let id = store.add_draft(&format!("provider add {}", add.name), "command line", &content).await?;
    catalog_command::publish(store, id, None).await?;
    for model in &content.models {
        say(&format!("Call it as {}", model.slug))?;
    }
    Ok(())
}

fn draft(add: &Add) -> anyhow::Result<DraftContent> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    anyhow::ensure!(
        !add.name.is_empty() && add.name.chars().all(plain),
        "NAME: lower-case letters, digits and dashes"
    );
    let price = |text: &str, what: &str| {
        PicoUsd::parse_per_million(text)
            .with_context(|| format!("{what} must be dollars per million tokens, e.g. 0.15"))
    };
    let rates = Rates {
        prompt: price(&add.price_prompt, "--price-prompt")?,
        completion: price(&add.price_completion, "--price-completion")?,
        ..Rates::default()
    };
    let provider = Provider {
        slug: add.name.clone(),
        name: add.name.clone(),
        dialect: "openai".to_owned(),
        base_url: add.base_url.trim_end_matches('/').to_owned(),
        credential_env: add.credential_env.clone(),
        quirks: serde_json::Value::Null,
        bills_after_cancel: false,
        privacy_policy_url: None,
        terms_of_service_url: None,
        status_page_url: None,
        headquarters: None,
        trains_on_data: false,
        retains_prompts: false,
        enabled: true,
    };
    let mut content = DraftContent { providers: vec![provider], ..DraftContent::default() };
    for served in &add.model {
        let slug = format!("{}/{}", add.name, slug_part(served));
        content.models.push(model(add, &slug, served));
        content.endpoints.push(EndpointDraft {
            model: slug,
            provider: add.name.clone(),
            provider_model: served.clone(),
            tag: add.name.clone(),
            context_length: add.context_length,
            max_prompt_tokens: None,
            max_completion_tokens: add.max_completion_tokens,
            quantization: None,
            supported_parameters: [
                "max_tokens",
                "seed",
                "stop",
                "temperature",
                "tool_choice",
                "tools",
                "top_p",
            ]
            .map(str::to_owned)
            .to_vec(),
            rates,
            tiers: Vec::new(),
            free: false,
        });
    }
    Ok(content)
}

fn model(add: &Add, slug: &str, served: &str) -> Model {
    Model {
        slug: slug.to_owned(),
        name: served.to_owned(),
        description: String::new(),
        created: SystemClock::new().now(),
        context_length: add.context_length,
        input_modalities: vec![Modality::Text],
        output_modalities: vec![Modality::Text],
        knowledge_cutoff: None,
        open_weights: false,
        hugging_face_id: None,
        family: None,
        reasoning: false,
        reasons_by_default: None,
    }
}

/// `llama3.2:3b` is called `llama3.2-3b`: a colon would start a variant.
fn slug_part(served: &str) -> String {
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c.to_ascii_lowercase() } else { '-' }
    };
    served.chars().map(keep).collect()
}
