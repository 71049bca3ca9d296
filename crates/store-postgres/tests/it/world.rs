//! A small shop in the database: one customer, one model for sale, and a plain engine that keeps its own
//! balance and writes outbox entries as Redis would.

use crate::database::{Db, noon};
use accounts::ports::{NewPerson, People as _, SignUp};
use accounts::{Email, OrgSummary};
use billing::engine::{CapId, CapPeriod, CapWindow, ClosedBy, HoldKey, OutboxEntry, Ticket};
use billing::epochs::EpochLedger as _;
use billing::ledger::{GrantLedger as _, IngestLedger as _, Ledger as _, PurchaseLedger as _};
use billing::price::{self, Extras};
use billing::purchase::{Grant, Granted, NewPurchase};
use billing::{GenerationRecord, HoldOwner};
use catalog::draft::{DraftContent, EndpointDraft};
use catalog::ports::{CatalogDesk as _, Published, PublishedCatalog as _};
use catalog::{Endpoint, Modality, Model, Provider, Rates};
use kernel::ids::{GenerationId, KeyId, MemberId, PersonId, PurchaseId};
use kernel::rng::SystemEntropy;
use kernel::{Cents, Clock as _, NanoUsd, PicoUsd, Usage};
use std::sync::Arc;
use store_postgres::PgStore;

pub(crate) const RUN_ID: &str = "run-1";

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) org: OrgSummary,
    pub(crate) member: MemberId,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) lease: i64,
}

impl World {
    /// A customer with an account in an open epoch, a price list, and the ingest lease.
    pub(crate) async fn open(db: Db) -> Self {
        let (org, member) = customer(&db.store, "ana@example.com").await;
        publish(&db.store, price_list(1_000_000, 2_000_000)).await;
        let snapshot = db.store.snapshot(noon()).await.unwrap();
        let endpoint = Arc::clone(&snapshot.find("acme/small").unwrap().endpoints[0]);
        open_epoch(&db.store, org.account.shard, RUN_ID).await;
        let lease = db.store.lease("writer", 60).await.unwrap().unwrap();
        Self { db, org, member, endpoint, lease }
    }

    /// The shard's next epoch, sealed and published on a node.
    pub(crate) async fn next_epoch(&self, node: &str) -> i64 {
        open_epoch(self.store(), self.org.account.shard, node).await
    }

    /// The stream id up to which the one shard is booked.
    pub(crate) async fn cursor(&self) -> String {
        self.store().cursors().await.unwrap().remove(0).id
    }

    pub(crate) fn store(&self) -> &PgStore {
        &self.db.store
    }

    /// Buys credits with the fee of the rule.
    pub(crate) async fn buy(&self, cents: i64) -> PurchaseId {
        let purchase = self.new_purchase(cents);
        self.store().open_purchase(&purchase).await.unwrap();
        let grant = Grant { purchase: purchase.id, payment: format!("pi_{}", purchase.id), at: noon() };
        assert!(matches!(self.store().grant(&grant).await.unwrap(), Granted::Done { .. }));
        purchase.id
    }

    pub(crate) fn new_purchase(&self, cents: i64) -> NewPurchase {
        let amount = Cents::new(cents);
        NewPurchase {
            id: PurchaseId::new(self.db.clock.as_ref(), &SystemEntropy),
            org: self.org.id,
            member: self.member,
            amount,
            fee: billing::fees::PurchaseFee::STANDARD.fee(amount).unwrap(),
            created_at: noon(),
        }
    }

    pub(crate) fn owner(&self) -> HoldOwner {
        HoldOwner {
            org: self.org.id,
            workspace: self.org.default_workspace,
            key: None,
            member: self.member,
            model: "acme/small".to_owned(),
        }
    }

    pub(crate) async fn posted(&self) -> i64 {
        let state = self.store().account_state(self.org.account.account, &[], noon()).await.unwrap().unwrap();
        state.posted.get()
    }

    /// An engine that has just loaded the account.
    pub(crate) async fn engine(&self) -> Engine {
        let state = self.store().account_state(self.org.account.account, &[], noon()).await.unwrap().unwrap();
        let epochs = self.store().epochs().await.unwrap();
        let epoch = epochs.iter().find(|(shard, _)| *shard == self.org.account.shard).unwrap().1;
        let (balance, debit_seq, credit_seq) = (state.posted.get(), state.debit_seq, state.credit_seq);
        Engine { epoch, balance, debit_seq, credit_seq, stream: 0 }
    }
}

/// What Redis would keep of the one account.
pub(crate) struct Engine {
    pub(crate) epoch: i64,
    pub(crate) balance: i64,
    pub(crate) debit_seq: i64,
    pub(crate) credit_seq: i64,
    pub(crate) stream: u64,
}

impl Engine {
    /// Closes a hold: the balance falls, the sequence rises, an entry is written.
    pub(crate) fn close(&mut self, world: &World, call: &Call) -> OutboxEntry {
        self.balance -= call.charge;
        self.debit_seq += 1;
        self.stream += 1;
        OutboxEntry {
            id: format!("1795000000000-{}", self.stream),
            shard: world.org.account.shard,
            epoch: self.epoch,
            key: HoldKey { generation: call.id, funding: call.funding },
            kind: call.kind,
            account: world.org.account.account,
            charge: NanoUsd::new(call.charge),
            uncollected: NanoUsd::new(call.uncollected),
            held: NanoUsd::new(call.held),
            list_price: NanoUsd::new(call.list_price),
            ticket: call.ticket,
            byok_month: if call.ticket == Ticket::None { 0 } else { 2026 * 12 + 10 },
            windows: call
                .caps
                .iter()
                .map(|cap| CapWindow { cap: CapId(cap.clone()), period: CapPeriod::Daily, window: 20_777 })
                .collect(),
            balance_after: NanoUsd::new(self.balance),
            debit_seq: self.debit_seq,
            credit_seq: self.credit_seq,
            record: call.record.clone(),
        }
    }
}

/// One call that ends.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: GenerationId,
    pub(crate) funding: u8,
    pub(crate) kind: ClosedBy,
    pub(crate) charge: i64,
    pub(crate) uncollected: i64,
    pub(crate) held: i64,
    pub(crate) list_price: i64,
    pub(crate) ticket: Ticket,
    pub(crate) caps: Vec<String>,
    pub(crate) record: String,
}

impl Call {
    /// A call paid with credits: so many prompt and completion tokens at the price list.
    pub(crate) fn settled(world: &World, prompt: u64, completion: u64) -> Self {
        Self::from_record(record(world, prompt, completion, None))
    }

    pub(crate) fn keyed(world: &World, key: KeyId, prompt: u64, completion: u64) -> Self {
        Self::from_record(record(world, prompt, completion, Some(key)))
    }

    pub(crate) fn from_record(record: GenerationRecord) -> Self {
        Self {
            id: record.id,
            funding: 1,
            kind: ClosedBy::Settle,
            charge: record.amount.get(),
            uncollected: 0,
            held: record.amount.get(),
            list_price: record.list_price.get(),
            ticket: Ticket::None,
            caps: Vec::new(),
            record: serde_json::to_string(&record).unwrap(),
        }
    }

    /// The same call, one of its holds closed so. A release of a metered hold comes as a settlement of nothing.
    pub(crate) fn ended(&self, world: &World, (funding, kind, charge): (u8, ClosedBy, i64)) -> Self {
        let ended = match kind {
            ClosedBy::Settle => Self { charge, ..self.clone() },
            ClosedBy::Sweep => self.swept(world, charge),
            ClosedBy::Release => {
                let record = format!("release:{}", world.owner().packed().unwrap());
                Self { charge: 0, held: 500, list_price: 0, record, ..self.clone() }
            }
        };
        Self { funding, ..ended }
    }

    /// The same call, closed by the sweeper at so much.
    pub(crate) fn swept(&self, world: &World, charge: i64) -> Self {
        let record = format!("sweep:{}", world.owner().packed().unwrap());
        Self { kind: ClosedBy::Sweep, charge, list_price: charge, record, ..self.clone() }
    }
}

pub(crate) fn record(world: &World, prompt: u64, completion: u64, key: Option<KeyId>) -> GenerationRecord {
    let usage = Usage { prompt, completion, ..Usage::default() };
    let list_price = price::charge(&world.endpoint.tariff, &usage, Extras::default()).unwrap();
    GenerationRecord {
        id: GenerationId::new(world.db.clock.as_ref(), &SystemEntropy),
        org: world.org.id,
        workspace: world.org.default_workspace,
        key,
        member: world.member,
        model: "acme/small".to_owned(),
        provider: "acme".to_owned(),
        endpoint: world.endpoint.id,
        tariff: world.endpoint.tariff.id,
        tariff_version: world.endpoint.tariff.version,
        catalog_version: 1,
        usage,
        extras: Extras::default(),
        usage_source: "exact".to_owned(),
        list_price,
        amount: list_price,
        provider_cost: list_price,
        provider_key: None,
        finish_reason: Some("stop".to_owned()),
        native_finish_reason: None,
        streamed: true,
        cancelled: false,
        error: None,
        latency_ms: 120,
        generation_ms: 900,
        attempts: Vec::new(),
        upstream_id: None,
        app_referer: None,
        app_title: None,
        end_user: None,
        session: None,
        simulated: true,
    }
}

/// Seals and publishes at once, as no resync may.
async fn open_epoch(store: &PgStore, shard: u8, node: &str) -> i64 {
    let sealed = store.seal_epochs(&[shard], node).await.unwrap();
    assert_eq!(store.publish_epochs(&sealed).await.unwrap(), [shard]);
    sealed[0].1
}

/// Signs a person up and in.
pub(crate) async fn customer(store: &PgStore, email: &str) -> (OrgSummary, MemberId) {
    let new = NewPerson { email: Email::parse(email).unwrap(), password_hash: "hash".to_owned(), at: noon() };
    let SignUp::Done { person, member, .. } = store.sign_up(&new).await.unwrap() else { panic!("taken") };
    (summary(store, person).await, member)
}

async fn summary(store: &PgStore, person: PersonId) -> OrgSummary {
    let mut digest = [0; 32];
    kernel::Entropy::fill(&SystemEntropy, &mut digest);
    store.add_session(person, &digest, noon(), noon() + chrono::Duration::days(1)).await.unwrap();
    store.session(&digest, noon()).await.unwrap().unwrap().org
}

/// One model at one provider.
pub(crate) fn price_list(prompt: i64, completion: i64) -> DraftContent {
    DraftContent {
        base: None,
        providers: vec![provider()],
        models: vec![model()],
        endpoints: vec![endpoint(prompt, completion)],
        held_back: Vec::new(),
    }
}

pub(crate) fn endpoint(prompt: i64, completion: i64) -> EndpointDraft {
    EndpointDraft {
        model: "acme/small".to_owned(),
        provider: "acme".to_owned(),
        provider_model: "small-1".to_owned(),
        tag: "acme".to_owned(),
        context_length: 8192,
        max_prompt_tokens: None,
        max_completion_tokens: 1024,
        quantization: None,
        supported_parameters: vec!["max_tokens".to_owned()],
        rates: Rates {
            prompt: PicoUsd::new(prompt),
            completion: PicoUsd::new(completion),
            ..Rates::default()
        },
        tiers: Vec::new(),
        free: false,
    }
}

fn provider() -> Provider {
    Provider {
        slug: "acme".to_owned(),
        name: "Acme".to_owned(),
        dialect: "openai".to_owned(),
        base_url: "http://127.0.0.1:1".to_owned(),
        credential_env: None,
        quirks: serde_json::Value::Null,
        bills_after_cancel: false,
        privacy_policy_url: None,
        terms_of_service_url: None,
        status_page_url: None,
        headquarters: None,
        trains_on_data: false,
        retains_prompts: false,
        enabled: true,
    }
}

fn model() -> Model {
    Model {
        slug: "acme/small".to_owned(),
        name: "Acme Small".to_owned(),
        description: String::new(),
        created: noon(),
        context_length: 8192,
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

/// Adds a draft and publishes it from the start of 2026.
pub(crate) async fn publish(store: &PgStore, content: DraftContent) -> Published {
    let draft = store.add_draft("test", "staff@example.com", &content).await.unwrap();
    store.publish(draft, "staff@example.com", "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap()
}

/// A moment some seconds after the test began; the clock goes along.
pub(crate) fn later(world: &World, seconds: u64) -> kernel::Moment {
    world.db.clock.advance(std::time::Duration::from_secs(seconds));
    world.db.clock.now()
}
