//! A marketplace in memory: a demo customer with credits, keys and calls, a member of staff with a draft.

use super::catalog::{FakeCatalogDesk, sample_draft, sample_history, sample_snapshot};
use super::ledger::{CHECKOUT, FakeEngine, FakePayments, FakePurchases, FakeReports};
use super::money::FakeMoney;
use super::people::{FakeKeys, FakePeople, FakeProviderKeys, FakeStaff, Ids, no_reset, unused};
use accounts::api_key::{KeyKind, KeyRecord, LimitReset, Pepper};
use accounts::password::{self, Cost};
use accounts::ports::{
    KeyUsage, NewPerson, NewProviderKey, People as _, ProviderKeys as _, SignedIn, StaffDesk as _,
};
use accounts::receipt_key::ReceiptSigner;
use accounts::seal::Sealer;
use accounts::token::TokenSigner;
use accounts::{Email, session::SessionToken};
use billing::Credits;
use billing::fees::{ByokFee, PurchaseFee};
use billing::generation::{AttemptRecord, GenerationRecord};
use billing::ledger::PurchaseLedger as _;
use billing::purchase::NewPurchase;
use billing::refund_desk::RefundDesk;
use billing::reports::{DayModelUsage, Generation};
use catalog::Catalog;
use catalog::ports::CatalogDesk as _;
use kernel::clock::FixedClock;
use kernel::ids::{EndpointId, GenerationId, KeyId, PurchaseId, TariffId};
use kernel::rng::SeededEntropy;
use kernel::{Cents, Clock, Moment, NanoUsd, SecretString, Usage};
use std::sync::Arc;
use web::{Attempts, Passwords, PublicDeps, Realm, Site, StaffDeps};

/// 2026-11-20 14:03:40 UTC.
pub(crate) const NOW: i64 = 1_795_183_420;
pub(crate) const DEMO_EMAIL: &str = "demo@farebox.example";
pub(crate) const STAFF_EMAIL: &str = "rosa@farebox.example";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Everything the pages are given, with handles on the fakes.
pub(crate) struct World {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) people: Arc<FakePeople>,
    pub(crate) keys: Arc<FakeKeys>,
    pub(crate) provider_keys: Arc<FakeProviderKeys>,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) purchases: Arc<FakePurchases>,
    pub(crate) money: Arc<FakeMoney>,
    pub(crate) payments: Arc<FakePayments>,
    pub(crate) reports: Arc<FakeReports>,
    pub(crate) staff: Arc<FakeStaff>,
    pub(crate) desk: Arc<FakeCatalogDesk>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tokens: TokenSigner,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) url: String,
}

impl World {
    /// A demo customer without anything but an account.
    pub(crate) async fn fresh(url: &str) -> Self {
        let now = Moment::from_timestamp(NOW, 0).unwrap();
        let rng = SeededEntropy::new(1);
        let hash = password::hash(&SecretString::from(PASSWORD), Cost::LEAST, &rng).unwrap();
        let people = FakePeople::new(now);
        let person =
            NewPerson { email: Email::parse(DEMO_EMAIL).unwrap(), password_hash: hash.clone(), at: now };
        people.sign_up(&person).await.unwrap();
        let purchases = Arc::new(FakePurchases::default());
        let staff = FakeStaff::new(now);
        staff.set_staff(&Email::parse(STAFF_EMAIL).unwrap(), &hash, now).await.unwrap();
        Self {
            clock: Arc::new(FixedClock::at(now)),
            people: Arc::new(people),
            keys: Arc::new(FakeKeys::new(now)),
            provider_keys: Arc::new(FakeProviderKeys::new(now)),
            engine: Arc::new(FakeEngine::with(NanoUsd::ZERO, NanoUsd::ZERO, NanoUsd::ZERO)),
            money: Arc::new(FakeMoney::new(Arc::clone(&purchases))),
            purchases,
            payments: Arc::new(FakePayments::default()),
            reports: Arc::new(FakeReports::default()),
            staff: Arc::new(staff),
            desk: Arc::new(FakeCatalogDesk::new(now)),
            catalog: Arc::new(Catalog::new(sample_snapshot(now))),
            tokens: TokenSigner::from_seed(&[4; 32]),
            entropy: Arc::new(SeededEntropy::new(2)),
            url: url.to_owned(),
        }
    }

    /// The same with a month of use.
    pub(crate) async fn lived_in(url: &str) -> Self {
        let world = Self::fresh(url).await;
        let nano = NanoUsd::new;
        let engine = FakeEngine::with(nano(18_204_331_870), nano(42_000_000), nano(35_000_000_000));
        let world = Self { engine: Arc::new(engine), ..world };
        world.add_keys();
        world.add_calls();
        world.add_purchases().await;
        let sealed = NewProviderKey {
            org: world.demo().org.id,
            provider: "anthropic".to_owned(),
            name: "Team contract".to_owned(),
            hint: "x9Qa".to_owned(),
            sealed: vec![1],
            fallback: true,
            at: world.clock.now(),
        };
        world.provider_keys.add_provider_key(&sealed).await.unwrap();
        let live = world.catalog.snapshot();
        world.desk.add_draft("models-2026-11-20.json", STAFF_EMAIL, &sample_draft(&live)).await.unwrap();
        let first = &live.listings()[0].endpoints[0];
        *world.desk.history.lock() = sample_history(first, world.clock.now());
        world
    }

    pub(crate) fn demo(&self) -> SignedIn {
        self.people.signed(DEMO_EMAIL)
    }

    /// A session cookie's value for the demo customer.
    pub(crate) async fn session(&self) -> SessionToken {
        let token = SessionToken::draw(self.entropy.as_ref());
        let now = self.clock.now();
        let until = now + chrono::Duration::days(14);
        self.people.add_session(self.demo().person, &token.digest(), now, until).await.unwrap();
        token
    }

    /// A session cookie's value for the member of staff.
    pub(crate) async fn staff_session(&self) -> SessionToken {
        let token = SessionToken::draw(self.entropy.as_ref());
        let (id, _) =
            self.staff.staff_credentials(&Email::parse(STAFF_EMAIL).unwrap()).await.unwrap().unwrap();
        let now = self.clock.now();
        self.staff.add_staff_session(id, &token.digest(), now, now).await.unwrap();
        token
    }

    pub(crate) fn site(&self, realm: Realm) -> Site {
        Site {
            realm,
            url: self.url.clone(),
            api_base: format!("{}/api/v1", self.url),
            checkout_origins: vec![CHECKOUT.to_owned()],
            simulated: true,
            development: true,
            credentials: None,
            trust_proxy: false,
            form_patience: std::time::Duration::from_secs(5),
        }
    }

    pub(crate) fn public_deps(&self) -> PublicDeps {
        PublicDeps {
            site: self.site(Realm::Public),
            people: self.people.clone(),
            keys: self.keys.clone(),
            pepper: Pepper::new(1, [3; 32]),
            provider_keys: self.provider_keys.clone(),
            sealer: Sealer::new(&[5; 32]),
            purchases: self.purchases.clone(),
            payments: self.payments.clone(),
            refunds: self.refund_desk(),
            disputes: self.money.clone(),
            reports: self.reports.clone(),
            receipts: self.reports.clone(),
            receipt_signer: ReceiptSigner::from_seeds(&[6; 32], &[]),
            credits: self.credits(),
            catalog: self.catalog.clone(),
            tokens: self.tokens.clone(),
            passwords: Passwords::new(Cost::LEAST, 2, self.entropy.clone()),
            attempts: Arc::new(Attempts::new(self.clock.clone())),
            purchase_fee: PurchaseFee::STANDARD,
            byok_fee: ByokFee::STANDARD,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    fn credits(&self) -> Credits {
        let engine = &self.engine;
        Credits::new(engine.clone(), engine.clone(), engine.clone(), self.clock.clone())
    }

    fn refund_desk(&self) -> RefundDesk {
        RefundDesk {
            provider: self.money.clone(),
            refunds: self.money.clone(),
            purchases: self.purchases.clone(),
            grants: self.money.clone(),
            purse: Arc::new(self.credits()),
            clock: self.clock.clone(),
        }
    }

    pub(crate) fn staff_deps(&self) -> StaffDeps {
        StaffDeps {
            site: self.site(Realm::Staff),
            staff: self.staff.clone(),
            desk: self.desk.clone(),
            grants: self.money.clone(),
            refunds: self.refund_desk(),
            disputes: self.money.clone(),
            mail: self.money.clone(),
            switch: self.desk.clone(),
            catalog: self.catalog.clone(),
            passwords: Passwords::new(Cost::LEAST, 2, self.entropy.clone()),
            attempts: Arc::new(Attempts::new(self.clock.clone())),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        }
    }

    fn add_keys(&self) {
        let ids = Ids::new(21, self.clock.now());
        let dollars = |text: &str| NanoUsd::parse_dollars(text).unwrap();
        let mut production = self.key(&ids, "Production agent", "kQ2...9xZ");
        production.key.limit = Some(dollars("25"));
        production.key.limit_reset = LimitReset::Monthly;
        production.usage = dollars("14.2071");
        production.usage_monthly = dollars("14.2071");
        production.last_used_at = Some(self.clock.now() - chrono::Duration::minutes(2));
        let mut batch = self.key(&ids, "Nightly summaries", "7Yb...LmP");
        batch.key.limit = Some(dollars("0.5"));
        batch.key.limit_reset = LimitReset::Daily;
        batch.usage = dollars("2.5886");
        batch.usage_daily = dollars("0.49");
        batch.last_used_at = Some(self.clock.now() - chrono::Duration::hours(9));
        let mut old = self.key(&ids, "Laptop", "a00...00b");
        old.key.disabled = true;
        *self.keys.keys.lock() = vec![production, batch, old];
    }

    fn key(&self, ids: &Ids, name: &str, ends: &str) -> KeyUsage {
        let demo = self.demo();
        unused(KeyRecord {
            id: ids.draw(KeyId::new),
            hash: format!("{:0>64}", name.len()),
            kind: KeyKind::Model,
            org: demo.org.id,
            account: demo.org.account,
            workspace: demo.org.default_workspace,
            creator: demo.member.id,
            name: name.to_owned(),
            label: format!("sk-fb-v1-{ends}"),
            limit: None,
            limit_reset: no_reset(),
            include_byok_in_limit: false,
            disabled: false,
            expires_at: None,
            created_at: self.clock.now() - chrono::Duration::days(40),
            updated_at: None,
            caps: Vec::new(),
        })
    }

    fn add_calls(&self) {
        let rng = SeededEntropy::new(31);
        let models = [
            ("anthropic/claude-sonnet-5", "anthropic", 21_400_i64),
            ("openai/gpt-5.4-mini", "openai", 2_100),
            ("deepseek/deepseek-v4", "northgrid", 1_900),
            ("qwen/qwen4-coder", "redwood", 1_150),
        ];
        let mut days = Vec::new();
        for back in (0..30_u64).rev() {
            let day = self.clock.now() - chrono::Duration::days(i64::try_from(back).unwrap());
            for (index, (model, _, weight)) in models.iter().enumerate() {
                let requests = 3 + (back * 7 + u64::try_from(index).unwrap() * 5) % 19;
                let charge = i64::try_from(requests).unwrap() * weight * 1_000 + 337;
                days.push(DayModelUsage {
                    day: day.format("%Y-%m-%d").to_string(),
                    model: (*model).to_owned(),
                    requests,
                    prompt_tokens: requests * 1_840,
                    completion_tokens: requests * 412,
                    charge: NanoUsd::new(charge),
                    byok_list_price: NanoUsd::ZERO,
                });
            }
        }
        *self.reports.days.lock() = days;
        let calls = (0..60_i64).map(|index| {
            let (model, provider, weight) = models[usize::try_from(index % 4).unwrap()];
            self.call(&rng, index, (model, provider, weight))
        });
        *self.reports.calls.lock() = calls.collect();
    }

    fn call(
        &self,
        rng: &SeededEntropy,
        index: i64,
        (model, provider, weight): (&str, &str, i64),
    ) -> Generation {
        let at = self.clock.now() - chrono::Duration::seconds(97 * index + 5);
        let clock = FixedClock::at(at);
        let demo = self.demo();
        let failed = index == 6;
        let charge = NanoUsd::new(if failed { 0 } else { weight * (731 + index * 13) + 7 });
        let attempt = |provider: &str, status, outcome: &str, started_ms, duration_ms| AttemptRecord {
            provider: provider.to_owned(),
            status,
            outcome: outcome.to_owned(),
            started_ms,
            duration_ms,
            own_key: false,
        };
        let mut attempts = vec![attempt(provider, 200, "ok", if index == 1 { 420 } else { 3 }, 4_210)];
        if index == 1 {
            attempts.insert(0, attempt("redwood", 429, "rate_limited", 3, 400));
        }
        let keys = self.keys.keys.lock();
        let key = &keys[usize::try_from(index % 2).unwrap()].key;
        let record = GenerationRecord {
            id: GenerationId::new(&clock, rng),
            org: demo.org.id,
            workspace: demo.org.default_workspace,
            key: (index % 5 != 0).then_some(key.id),
            member: demo.member.id,
            model: model.to_owned(),
            provider: provider.to_owned(),
            endpoint: EndpointId::from_uuid(Default::default()),
            tariff: TariffId::from_uuid(Default::default()),
            tariff_version: 3,
            catalog_version: 7,
            usage: Usage {
                prompt: 1_731,
                completion: 402,
                cache_read: 1_024,
                reasoning: 96,
                ..Usage::default()
            },
            extras: Default::default(),
            usage_source: if index == 3 { "estimated" } else { "exact" }.to_owned(),
            list_price: charge,
            amount: charge,
            provider_cost: charge,
            provider_key: None,
            finish_reason: Some(if index % 7 == 2 { "tool_calls" } else { "stop" }.to_owned()),
            native_finish_reason: Some("end_turn".to_owned()),
            streamed: true,
            cancelled: index == 9,
            error: failed.then(|| "provider_overloaded".to_owned()),
            latency_ms: 612,
            generation_ms: 4_100,
            attempts,
            upstream_id: Some("chatcmpl-8841".to_owned()),
            app_referer: None,
            app_title: Some("Support desk".to_owned()),
            end_user: None,
            session: None,
            simulated: true,
        };
        Generation {
            key_name: record.key.map(|_| key.name.clone()),
            record,
            created_at: at,
            charge,
            uncollected: NanoUsd::ZERO,
            held: NanoUsd::new(61_440_000),
        }
    }

    async fn add_purchases(&self) {
        let demo = self.demo();
        let ids = Ids::new(41, self.clock.now());
        for (days, amount, fee, paid) in [(31, 1_000, 80, true), (9, 2_500, 138, true), (0, 1_000, 80, false)]
        {
            let new = NewPurchase {
                id: ids.draw(PurchaseId::new),
                org: demo.org.id,
                member: demo.member.id,
                amount: Cents::new(amount),
                fee: Cents::new(fee),
                created_at: self.clock.now() - chrono::Duration::days(days),
            };
            self.purchases.open_purchase(&new).await.unwrap();
            if paid {
                self.purchases.pay(new.id, new.created_at + chrono::Duration::seconds(41));
            }
        }
    }
}
