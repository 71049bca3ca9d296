//! Routing: which endpoints can serve this request, in which order, with whose keys. Every endpoint that is
//! left out has its reason.

use crate::meter;
use crate::pipeline::no_keys;
use crate::prompt;
use crate::refusal::{Kind, Refusal};
use crate::stage::admit::Needs;
use crate::stage::authenticate::Caller;
use crate::stage::call::{Accesses, Failed, OpenKeys, millis};
use accounts::ports::{ProviderKey, ProviderKeys};
use accounts::seal::Sealer;
use catalog::snapshot::Listing;
use catalog::{Catalog, ModelRef, Provider, Snapshot};
use dialects::{FailureClass, RequestHead};
use kernel::{Entropy, Moment};
use parking_lot::Mutex;
use routing::{Ask, Candidate, HealthBoard, OwnKey, Plan, Preferences, Verdict, World};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Names the purpose under which provider keys are sealed.
pub const PROVIDER_KEY_PURPOSE: &str = "provider_key";
/// Bytes of text that are at least one token, generously: only prompts that surely do not fit are refused.
const BYTES_PER_TOKEN_AT_MOST: u64 = 12;
/// Tokens held for an input image beside its price, where the catalog names no bound.
const TOKENS_PER_IMAGE: u64 = 2048;

/// Who decides on the way.
#[derive(Clone)]
pub struct Switchboard {
    pub catalog: Arc<Catalog>,
    pub health: Arc<Mutex<HealthBoard>>,
    pub accesses: Arc<dyn Accesses>,
    pub own_keys: Arc<dyn ProviderKeys>,
    pub sealer: Sealer,
    pub entropy: Arc<dyn Entropy>,
}

/// What the request says of its way, checked against the catalog.
#[derive(Debug)]
pub struct Wish {
    snapshot: Arc<Snapshot>,
    /// Slugs in order of preference.
    models: Vec<String>,
    preferences: Preferences,
}

/// How fast an answer was.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// From asking to the first output.
    pub first_output: Option<Duration>,
    pub took: Duration,
    pub completion_tokens: u64,
}

impl Measured {
    fn tokens_per_second(&self) -> Option<u32> {
        let millis = u64::try_from(self.took.as_millis()).ok().filter(|millis| *millis > 0)?;
        u32::try_from(self.completion_tokens.saturating_mul(1000) / millis).ok().filter(|rate| *rate > 0)
    }
}

/// The plan with what calling it needs.
pub struct Planned {
    pub plan: Plan,
    pub needs: Needs,
    pub keys: OpenKeys,
    pub catalog_version: i64,
}

impl Planned {
    /// Runs of candidates that are paid the same way, in order.
    pub fn groups(&self) -> impl Iterator<Item = &[Candidate]> {
        self.plan.candidates.chunk_by(|a, b| a.own_key.is_some() == b.own_key.is_some())
    }
}

impl Switchboard {
    /// Whether a model's answers may hold hidden tokens that nobody asked for.
    #[must_use]
    pub fn reasons_unasked(&self, model: &str) -> bool {
        self.catalog.snapshot().find(model).is_some_and(|listing| listing.model.reasons_unasked())
    }

    /// Reads models, variants and preferences. Asks no store.
    pub fn read(&self, head: &RequestHead<'_>) -> Result<Wish, Refusal> {
        let snapshot = self.catalog.snapshot();
        let mut preferences =
            Preferences::parse(head.provider()).map_err(|error| Refusal::invalid(format!("{error}.")))?;
        let mut models: Vec<String> = Vec::new();
        for asked in
            head.model().map(str::to_owned).into_iter().chain(head.models().iter().map(|m| m.to_string()))
        {
            let named =
                ModelRef::parse(&asked).map_err(|error| Refusal::invalid(format!("model: {error}.")))?;
            let listing = named.resolve(&snapshot).ok_or_else(|| unknown_model(&asked, &snapshot))?;
            let slug = listing.model.slug.clone();
            preferences = preferences.with_variant(named.sort);
            if !models.contains(&slug) {
                models.push(slug);
            }
        }
        if models.is_empty() {
            return Err(
                Refusal::invalid("model is required: name one of GET /api/v1/models.").with("path", "model")
            );
        }
        Ok(Wish { snapshot, models, preferences })
    }

    /// Plans the way and opens the customer's own keys on it.
    pub async fn plan(
        &self,
        head: &RequestHead<'_>,
        wish: Wish,
        caller: &Caller,
        now: Moment,
    ) -> Result<Planned, Refusal> {
        let sealed =
            self.own_keys.sealed_keys(caller.org).await.map_err(|error| Refusal::from_store(&error))?;
        let by_provider: HashMap<&str, &ProviderKey> =
            sealed.iter().rev().map(|(key, _)| (key.provider.as_str(), key)).collect();
        let own_key = |provider: &Provider| {
            // A server without a credential of its own would take any text for a key.
            provider.credential_env.as_ref()?;
            let key = by_provider.get(provider.slug.as_str())?;
            Some(OwnKey { id: key.id, fallback: key.fallback })
        };
        let health = |endpoint| self.health.lock().health(endpoint, now);
        let has_credential = |provider: &Provider| self.accesses.reaches(provider);
        let world = World {
            snapshot: &wish.snapshot,
            health: &health,
            own_key: &own_key,
            has_credential: &has_credential,
            entropy: self.entropy.as_ref(),
        };
        let listings: Vec<&Listing> =
            wish.models.iter().filter_map(|slug| wish.snapshot.find(slug)).collect();
        let ask = Ask {
            listings: &listings,
            preferences: &wish.preferences,
            parameters: &head.required_parameters(),
            modalities: &head.input_modalities(),
            prompt_floor: head.text_bytes() / BYTES_PER_TOKEN_AT_MOST,
            max_tokens: head.max_tokens(),
        };
        let plan = routing::plan(&ask, &world).map_err(|nothing| no_endpoints(&wish.models, &nothing))?;
        let keys = if sealed.is_empty() { no_keys() } else { self.open(caller, &plan, &sealed) };
        let prompt_tokens = meter::prompt_bound_by_bytes(prompt_bytes(head), head.message_count());
        let images = u64::from(head.image_count());
        let open_media = head.file_count() > 0 || head.audio_count() > 0 || head.video_count() > 0;
        let needs = Needs {
            prompt_tokens: prompt_tokens.saturating_add(images.saturating_mul(TOKENS_PER_IMAGE)),
            images: u64::from(head.image_count()),
            max_tokens: head.max_tokens(),
            n: head.n(),
            open_media,
        };
        Ok(Planned { plan, needs, keys, catalog_version: wish.snapshot.version })
    }

    /// A closer bound of the prompt, by counting its tokens.
    pub fn closer_needs(&self, head: &RequestHead<'_>, needs: &Needs) -> Result<Needs, Refusal> {
        let text = prompt::text(head).map_err(|error| Refusal::invalid(error.to_string()))?;
        let bytes = prompt_bytes(head);
        // What the provider reads beside the counted text keeps its bytes.
        let uncounted = bytes.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        let by_bytes = meter::prompt_bound_by_bytes(bytes, head.message_count());
        let media = needs.prompt_tokens.saturating_sub(by_bytes);
        let counted = meter::prompt_bound_by_count(&text, head.message_count());
        Ok(Needs { prompt_tokens: counted.saturating_add(uncounted).saturating_add(media), ..*needs })
    }

    fn open(&self, caller: &Caller, plan: &Plan, sealed: &[(ProviderKey, Vec<u8>)]) -> OpenKeys {
        let wanted = |id| plan.candidates.iter().any(|candidate| candidate.own_key == Some(id));
        let mut keys = OpenKeys::new();
        for (key, bytes) in sealed.iter().filter(|(key, _)| wanted(key.id)) {
            match self.sealer.open(caller.org, PROVIDER_KEY_PURPOSE, bytes) {
                Ok(secret) => {
                    keys.insert(key.id, secret);
                }
                Err(error) => tracing::error!(key = %key.id, %error, "a provider key could not be opened"),
            }
        }
        keys
    }

    /// Tells the health board of a failure, unless it was ours or a customer's own key's.
    pub fn note_failure(&self, candidate: &Candidate, failed: &Failed, now: Moment) {
        let verdict = match failed.failure.class {
            _ if failed.ours || candidate.own_key.is_some() => Verdict::Blameless,
            FailureClass::RateLimited => Verdict::Limited { retry_after: failed.retry_after },
            FailureClass::BadRequest
            | FailureClass::ContextLength
            | FailureClass::ContentPolicy
            | FailureClass::TooLarge => Verdict::Blameless,
            FailureClass::Overloaded
            | FailureClass::Auth
            | FailureClass::Billing
            | FailureClass::NotFound
            | FailureClass::Timeout
            | FailureClass::Server => Verdict::Failed,
        };
        self.health.lock().note(candidate.endpoint.id, verdict, now);
    }

    /// An attempt begins: a resting endpoint is probed by one request at a time.
    pub fn begin(&self, candidate: &Candidate, now: Moment) {
        self.health.lock().begin(candidate.endpoint.id, now);
    }

    /// Tells the health board of a good answer and how fast it was.
    pub fn note_success(&self, candidate: &Candidate, measured: &Measured, now: Moment) {
        let mut board = self.health.lock();
        board.note(candidate.endpoint.id, Verdict::Answered, now);
        let latency = measured.first_output.unwrap_or(measured.took);
        board.measure(candidate.endpoint.id, millis(latency), measured.tokens_per_second());
    }
}

/// Bytes of everything that a provider may read as prompt, media aside.
fn prompt_bytes(head: &RequestHead<'_>) -> u64 {
    head.text_bytes().saturating_add(head.other_bytes())
}

fn unknown_model(asked: &str, snapshot: &Snapshot) -> Refusal {
    let shown: String = asked.chars().take(128).collect();
    let tail = shown.rsplit('/').next().unwrap_or_default().to_lowercase();
    let near = snapshot
        .listings()
        .iter()
        .map(|l| &l.model.slug)
        .find(|slug| !tail.is_empty() && slug.rsplit('/').next().is_some_and(|name| name == tail));
    let hint = near.map_or_else(
        || "List the models with GET /api/v1/models.".to_owned(),
        |slug| format!("Did you mean {slug}?"),
    );
    Refusal::invalid(format!("{shown} is not a valid model ID. {hint}")).with("reason", "model_not_found")
}

fn no_endpoints(models: &[String], nothing: &routing::NoEndpoints) -> Refusal {
    let sentence = nothing.sentence(&models.join(", "));
    let excluded: Vec<serde_json::Value> = nothing
        .excluded
        .iter()
        .map(|exclusion| {
            serde_json::json!({
                "endpoint": exclusion.tag, "model": exclusion.model,
                "excluded_by": exclusion.reason.code(), "detail": exclusion.reason.sentence(),
            })
        })
        .collect();
    Refusal::new(Kind::NoEndpoints, sentence).with("excluded", excluded)
}
