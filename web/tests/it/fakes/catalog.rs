//! Drafts in memory, and a small price list to look at.

use super::people::Ids;
use async_trait::async_trait;
use catalog::draft::{
    DraftContent, DraftState, DraftSummary, EndpointDraft, HeldBack, PriceVersion, PublishedSince,
};
use catalog::ports::{CatalogDesk, Published};
use catalog::snapshot::Rows;
use catalog::switch::{KillSwitch, SwitchEntry, Turn};
use catalog::{Endpoint, Modality, Model, Provider, Rates, Snapshot, Tariff, Tier};
use kernel::ids::{DraftId, EndpointId, TariffId};
use kernel::{Moment, PicoUsd, StoreError};
use parking_lot::Mutex;

/// Drafts with their content; publishing only marks them.
pub(crate) struct FakeCatalogDesk {
    ids: Ids,
    at: Moment,
    pub(crate) drafts: Mutex<Vec<(DraftSummary, DraftContent)>>,
    pub(crate) history: Mutex<Vec<PriceVersion>>,
    /// What others published after the drafts were made.
    pub(crate) since: Mutex<Vec<PublishedSince>>,
    /// Turns of the kill switch, newest first.
    pub(crate) turns: Mutex<Vec<SwitchEntry>>,
}

#[async_trait]
impl KillSwitch for FakeCatalogDesk {
    async fn turn(&self, turn: &Turn<'_>, at: Moment) -> Result<bool, StoreError> {
        if turn.subject == "nobody" {
            return Ok(false);
        }
        let (kind, off) = (turn.kind, turn.off);
        let [subject, by, reason] = [turn.subject, turn.by, turn.reason].map(str::to_owned);
        self.turns.lock().insert(0, SwitchEntry { kind, subject, off, by, at, reason });
        Ok(true)
    }

    async fn switch_log(&self, _limit: u32) -> Result<Vec<SwitchEntry>, StoreError> {
        Ok(self.turns.lock().clone())
    }
}

impl FakeCatalogDesk {
    pub(crate) fn new(at: Moment) -> Self {
        Self {
            ids: Ids::new(15, at),
            at,
            drafts: Mutex::default(),
            history: Mutex::default(),
            since: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    fn live(&self) -> i64 {
        self.since.lock().first().map_or(7, |newest| newest.version)
    }

    fn close(&self, id: DraftId, state: DraftState, effective: Option<Moment>) -> Published {
        let mut drafts = self.drafts.lock();
        match drafts.iter_mut().find(|(summary, _)| summary.id == id) {
            None => Published::Missing,
            Some((summary, _)) if summary.state != DraftState::Open => Published::NotOpen,
            Some((_, content))
                if effective.is_some() && content.base.is_some_and(|base| base != self.live()) =>
            {
                Published::Stale { live: self.live() }
            }
            Some((summary, content)) => {
                summary.state = state;
                summary.effective_from = effective;
                summary.published_at = effective.map(|_| self.at);
                let changed = u64::try_from(content.endpoints.len()).unwrap();
                Published::Done { version: 8, changed_endpoints: changed }
            }
        }
    }
}

#[async_trait]
impl CatalogDesk for FakeCatalogDesk {
    async fn add_draft(&self, source: &str, by: &str, content: &DraftContent) -> Result<DraftId, StoreError> {
        let id = self.ids.draw(DraftId::new);
        let summary = DraftSummary {
            id,
            source: source.to_owned(),
            state: DraftState::Open,
            created_at: self.at,
            created_by: by.to_owned(),
            endpoints: content.endpoints.len(),
            held_back: content.held_back.len(),
            published_at: None,
            effective_from: None,
        };
        self.drafts.lock().insert(0, (summary, content.clone()));
        Ok(id)
    }

    async fn drafts(&self, _limit: u32) -> Result<Vec<DraftSummary>, StoreError> {
        Ok(self.drafts.lock().iter().map(|(summary, _)| summary.clone()).collect())
    }

    async fn draft(&self, id: DraftId) -> Result<Option<(DraftSummary, DraftContent)>, StoreError> {
        Ok(self.drafts.lock().iter().find(|(summary, _)| summary.id == id).cloned())
    }

    async fn publish(&self, id: DraftId, _by: &str, effective: Moment) -> Result<Published, StoreError> {
        Ok(self.close(id, DraftState::Published, Some(effective)))
    }

    async fn published_since(&self, version: i64) -> Result<Vec<PublishedSince>, StoreError> {
        Ok(self.since.lock().iter().filter(|one| one.version > version).cloned().collect())
    }

    async fn discard(&self, id: DraftId, _by: &str) -> Result<Published, StoreError> {
        Ok(self.close(id, DraftState::Discarded, None))
    }

    async fn price_history(&self, endpoint: EndpointId) -> Result<Vec<PriceVersion>, StoreError> {
        Ok(self.history.lock().iter().filter(|version| version.endpoint == endpoint).cloned().collect())
    }
}

fn rates(prompt: &str, completion: &str) -> Rates {
    Rates {
        prompt: PicoUsd::parse_per_million(prompt).unwrap(),
        completion: PicoUsd::parse_per_million(completion).unwrap(),
        ..Rates::default()
    }
}

fn provider(slug: &str, name: &str, country: &str) -> Provider {
    Provider {
        slug: slug.to_owned(),
        name: name.to_owned(),
        dialect: "openai".to_owned(),
        base_url: "https://api.example".to_owned(),
        credential_env: Some("PROVIDER_API_KEY".to_owned()),
        quirks: serde_json::Value::Null,
        bills_after_cancel: false,
        privacy_policy_url: Some("https://example.com/privacy".to_owned()),
        terms_of_service_url: Some("https://example.com/terms".to_owned()),
        status_page_url: None,
        headquarters: Some(country.to_owned()),
        trains_on_data: slug == "deepseek",
        retains_prompts: slug != "northgrid",
        enabled: true,
    }
}

struct Sample(&'static str, &'static str, u32, i64, &'static [(&'static str, &'static str, &'static str)]);

const SAMPLES: [Sample; 9] = [
    Sample(
        "anthropic/claude-sonnet-5",
        "Claude Sonnet 5",
        1_000_000,
        20,
        &[("anthropic", "3", "15"), ("northgrid", "3", "15")],
    ),
    Sample("openai/gpt-5.4-mini", "GPT-5.4 mini", 400_000, 40, &[("openai", "0.25", "2")]),
    Sample("openai/gpt-5.4", "GPT-5.4", 400_000, 41, &[("openai", "1.75", "14")]),
    Sample("google/gemini-3.5-flash", "Gemini 3.5 Flash", 1_048_576, 60, &[("google", "0.3", "2.5")]),
    Sample(
        "deepseek/deepseek-v4",
        "DeepSeek V4",
        131_072,
        70,
        &[("deepseek", "0.27", "1.1"), ("northgrid", "0.25", "1.05"), ("redwood", "0.9", "0.9")],
    ),
    Sample(
        "meta-llama/llama-5-70b-instruct",
        "Llama 5 70B Instruct",
        131_072,
        90,
        &[("northgrid", "0.13", "0.4"), ("redwood", "0.0375", "0.39")],
    ),
    Sample("mistralai/mistral-large-4", "Mistral Large 4", 262_144, 100, &[("mistral", "2", "6")]),
    Sample(
        "qwen/qwen4-coder",
        "Qwen4 Coder",
        262_144,
        110,
        &[("redwood", "0.22", "0.95"), ("northgrid", "0.2", "0.8")],
    ),
    Sample("moonshotai/kimi-k3", "Kimi K3", 262_144, 130, &[("northgrid", "0.55", "2.2")]),
];

fn model(sample: &Sample, now: Moment) -> Model {
    let images = sample.1.starts_with("Claude") || sample.1.starts_with("G");
    Model {
        slug: sample.0.to_owned(),
        name: sample.1.to_owned(),
        description:
            "A general model for long documents, code and agents, with tool calls and structured outputs."
                .to_owned(),
        created: now - chrono::Duration::days(sample.3),
        context_length: sample.2,
        input_modalities: if images { vec![Modality::Text, Modality::Image] } else { vec![Modality::Text] },
        output_modalities: vec![Modality::Text],
        knowledge_cutoff: Some("2026-03".to_owned()),
        open_weights: sample.1.starts_with("Llama"),
        hugging_face_id: None,
        family: None,
        reasoning: images,
        reasons_by_default: None,
    }
}

pub(crate) fn sample_snapshot(now: Moment) -> Snapshot {
    let ids = Ids::new(16, now);
    let mut rows = Rows::default();
    for (slug, name, country) in [
        ("anthropic", "Anthropic", "US"),
        ("deepseek", "DeepSeek", "CN"),
        ("google", "Google", "US"),
        ("mistral", "Mistral", "FR"),
        ("northgrid", "Northgrid", "CA"),
        ("openai", "OpenAI", "US"),
        ("redwood", "Redwood Compute", "US"),
    ] {
        rows.providers.push(provider(slug, name, country));
    }
    for sample in &SAMPLES {
        rows.models.push(model(sample, now));
        for (tag, prompt, completion) in sample.4 {
            rows.endpoints.push(endpoint(&ids, sample, tag, rates(prompt, completion), now));
        }
    }
    Snapshot::build(7, now, None, rows)
}

fn endpoint(ids: &Ids, sample: &Sample, tag: &str, rates: Rates, now: Moment) -> Endpoint {
    let cached = Rates { cache_read: Some(PicoUsd::new(rates.prompt.get() / 10)), ..rates };
    let long = Rates {
        prompt: PicoUsd::new(cached.prompt.get() * 2),
        completion: PicoUsd::new(cached.completion.get() * 3 / 2),
        ..cached
    };
    let tiers = if sample.2 >= 1_000_000 {
        vec![Tier { above_prompt_tokens: 200_000, rates: long }]
    } else {
        Vec::new()
    };
    Endpoint {
        id: ids.draw(EndpointId::new),
        model: sample.0.to_owned(),
        provider: tag.to_owned(),
        provider_model: sample.1.to_owned(),
        tag: tag.to_owned(),
        context_length: sample.2,
        max_prompt_tokens: None,
        max_completion_tokens: 65_536,
        quantization: (tag == "redwood").then(|| "fp8".to_owned()),
        supported_parameters: [
            "max_tokens",
            "reasoning",
            "response_format",
            "seed",
            "stop",
            "temperature",
            "tools",
            "top_p",
        ]
        .map(str::to_owned)
        .to_vec(),
        tariff: Tariff {
            id: ids.draw(TariffId::new),
            version: 3,
            effective_from: now - chrono::Duration::days(12),
            rates: cached,
            tiers,
            free: false,
        },
        cost_tariff: None,
        enabled: true,
    }
}

/// The live list with two changed prices, a new endpoint, and rows held back.
pub(crate) fn sample_draft(live: &Snapshot) -> DraftContent {
    let mut content = DraftContent { base: Some(live.version), ..DraftContent::default() };
    for endpoint in live.listings().iter().flat_map(|listing| &listing.endpoints) {
        content.endpoints.push(EndpointDraft {
            model: endpoint.model.clone(),
            provider: endpoint.provider.clone(),
            provider_model: endpoint.provider_model.clone(),
            tag: endpoint.tag.clone(),
            context_length: endpoint.context_length,
            max_prompt_tokens: endpoint.max_prompt_tokens,
            max_completion_tokens: endpoint.max_completion_tokens,
            quantization: endpoint.quantization.clone(),
            supported_parameters: endpoint.supported_parameters.clone(),
            rates: endpoint.tariff.rates,
            tiers: endpoint.tariff.tiers.clone(),
            free: false,
        });
    }
    let extra = EndpointDraft {
        tag: "redwood".to_owned(),
        provider: "redwood".to_owned(),
        ..content.endpoints[0].clone()
    };
    content.endpoints[0].rates.prompt = PicoUsd::new(content.endpoints[0].rates.prompt.get() * 9 / 10);
    content.endpoints[3].rates.completion = PicoUsd::new(content.endpoints[3].rates.completion.get() * 8 / 5);
    content.endpoints.push(extra);
    for (code, model, reason) in [
        (
            "zero_price",
            "acme/acme-mini",
            "Its input price is zero: a free model is marked by staff, never by a file.",
        ),
        ("reseller", "openai/gpt-5.4", "Sold again by a company that does not serve it itself."),
        ("reseller", "anthropic/claude-sonnet-5", "Sold again by a company that does not serve it itself."),
    ] {
        content.held_back.push(HeldBack {
            provider: "acme".to_owned(),
            model: model.to_owned(),
            code: code.to_owned(),
            reason: reason.to_owned(),
        });
    }
    content
}

/// Two versions of an endpoint's price.
pub(crate) fn sample_history(endpoint: &Endpoint, now: Moment) -> Vec<PriceVersion> {
    let version = |number: i32, days: i64, rates: Rates| PriceVersion {
        endpoint: endpoint.id,
        model: endpoint.model.clone(),
        provider: endpoint.provider.clone(),
        version: number,
        effective_from: now - chrono::Duration::days(days),
        rates,
        tiers: endpoint.tariff.tiers.clone(),
        free: false,
        published_by: "rosa@farebox.example".to_owned(),
        published_at: now - chrono::Duration::days(days),
    };
    let old = Rates { prompt: PicoUsd::new(endpoint.tariff.rates.prompt.get() * 2), ..endpoint.tariff.rates };
    vec![version(3, 12, endpoint.tariff.rates), version(2, 90, old)]
}
