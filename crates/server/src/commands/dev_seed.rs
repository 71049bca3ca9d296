//! `farebox dev-seed`: the demo account of a development stack, made through the real sign-up and a real
//! purchase, so that the books cover it. Twice is once. Refused in production.
//!
//! Its secrets are derived from this installation's own secrets, so nothing has to be remembered.

use crate::commands::say;
use crate::wiring::House;
use accounts::api_key::LimitReset;
use accounts::password::{self, Cost};
use accounts::ports::{Keys as _, NewKey, NewPerson, People as _, SignUp, SignedIn, StaffDesk as _};
use accounts::session::SessionToken;
use accounts::{Email, KeyKind, KeySecret};
use anyhow::{Context as _, bail, ensure};
use billing::desk::{BeginPurchase, Begun};
use billing::ledger::PurchaseLedger as _;
use billing::purchase::{NewPurchase, PurchaseState};
use kernel::ids::PurchaseId;
use kernel::{Cents, Entropy, SecretString};
use std::time::Duration;

const DEMO_EMAIL: &str = "demo@farebox.localhost.example";
const STAFF_EMAIL: &str = "staff@farebox.localhost.example";
/// What the demo account buys.
const CREDITS: Cents = Cents::new(2500);
/// How long the webhook may take.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// A stream of bytes derived from the installation's secrets and a label: stable over starts.
struct Derived {
    key: [u8; 32],
    counter: std::sync::atomic::AtomicU64,
}

impl Derived {
    fn new(house: &House, label: &str) -> Self {
        let secret: [u8; 32] = accounts::seal::derive(&house.config.seal_key.0, label);
        Self { key: secret, counter: std::sync::atomic::AtomicU64::new(0) }
    }

    fn password(&self) -> String {
        SessionToken::draw(self).reveal().chars().take(20).collect()
    }
}

impl Entropy for Derived {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let turn = self.counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let block = accounts::seal::derive(&self.key, &turn.to_string());
            for (to, from) in chunk.iter_mut().zip(block) {
                *to = from;
            }
        }
    }
}

/// Makes what is missing and prints everything as JSON.
pub(crate) async fn run(house: &House) -> anyhow::Result<()> {
    ensure!(!house.config.production(), "dev-seed makes accounts with known passwords: only in development");
    crate::jobs::epochs::refresh(house).await?;
    let demo_password = Derived::new(house, "demo password").password();
    let member = sign_up(house, &demo_password).await?;
    let model_key = key(house, &member, KeyKind::Model, "Demo key").await?;
    let management_key = key(house, &member, KeyKind::Management, "Demo management key").await?;
    buy_credits(house, &member).await?;
    let staff_password = Derived::new(house, "staff password").password();
    let hash =
        password::hash(&SecretString::from(staff_password.as_str()), Cost::STANDARD, house.entropy.as_ref())?;
    let staff = Email::parse(STAFF_EMAIL)?;
    if house.store.staff_credentials(&staff).await?.is_none() {
        house.store.set_staff(&staff, &hash, house.clock.now()).await?;
    }
    say(&serde_json::to_string_pretty(&serde_json::json!({
        "demo_email": DEMO_EMAIL,
        "demo_password": demo_password,
        "demo_api_key": model_key.reveal(),
        "demo_management_key": management_key.reveal(),
        "staff_email": STAFF_EMAIL,
        "staff_password": staff_password,
    }))?)
}

async fn sign_up(house: &House, demo_password: &str) -> anyhow::Result<SignedIn> {
    let email = Email::parse(DEMO_EMAIL)?;
    let now = house.clock.now();
    let person = match house.store.credentials(&email).await? {
        Some((person, _)) => person,
        None => {
            let secret = SecretString::from(demo_password);
            let password_hash = password::hash(&secret, Cost::STANDARD, house.entropy.as_ref())?;
            match house.store.sign_up(&NewPerson { email, password_hash, at: now }).await? {
                SignUp::Done { person, .. } => person,
                SignUp::EmailTaken => bail!("the demo address was taken in this moment; start again"),
            }
        }
    };
    // A session is how the store tells organization and member of a person; it ends at once.
    let digest = SessionToken::draw(house.entropy.as_ref()).digest();
    house.store.add_session(person, &digest, now, now + chrono::Duration::minutes(1)).await?;
    let signed_in = house.store.session(&digest, now).await?;
    house.store.end_session(&digest).await?;
    signed_in.context("the demo account has no organization")
}

async fn key(house: &House, member: &SignedIn, kind: KeyKind, name: &str) -> anyhow::Result<KeySecret> {
    let secret = KeySecret::draw(kind, &Derived::new(house, name));
    let now = house.clock.now();
    let hash = gateway::http::keys::draw_hash(&Derived::new(house, &format!("{name} hash")));
    if house.store.key(member.org.id, &hash, now).await?.is_none() {
        let new = NewKey {
            org: member.org.id,
            workspace: member.org.default_workspace,
            creator: member.member.id,
            kind,
            digest: house.pepper()?.digest(&secret),
            hash,
            name: name.to_owned(),
            label: secret.label(),
            limit: None,
            limit_reset: LimitReset::None,
            include_byok_in_limit: false,
            expires_at: None,
            at: now,
        };
        house.store.add_key(&new).await?;
    }
    Ok(secret)
}

/// Buys once, by the simulated checkout: begin, pay there, wait for the webhook.
async fn buy_credits(house: &House, member: &SignedIn) -> anyhow::Result<()> {
    let bought = house.store.purchases(member.org.id, 10).await?;
    if bought.iter().any(|purchase| purchase.state == PurchaseState::Granted) {
        return Ok(());
    }
    let quote = house.purchase_fee.quote(CREDITS)?;
    let purchase = NewPurchase {
        id: PurchaseId::new(house.clock.as_ref(), house.entropy.as_ref()),
        org: member.org.id,
        member: member.member.id,
        amount: quote.amount,
        fee: quote.fee,
        created_at: house.clock.now(),
    };
    let id = purchase.id;
    let back = format!("{}/credits/purchases/{id}", house.config.site_url);
    let begin = BeginPurchase { purchase, email: DEMO_EMAIL, success_url: &back, cancel_url: &back };
    let Begun::Checkout(session) = house.desk.begin(&begin).await? else {
        bail!("the demo purchase was closed")
    };
    let base = house.config.stripe_api_base.as_ref().context("dev-seed needs the payments simulator")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let paid =
        client.post(format!("{}/_control/pay/{}", base.trim_end_matches('/'), session.id)).send().await?;
    ensure!(
        paid.status().is_success() || paid.status().is_redirection(),
        "the simulated checkout refused: {}",
        paid.status()
    );
    for _ in 0..PATIENCE {
        let found = house.store.purchase(member.org.id, id).await?;
        if found.is_some_and(|purchase| purchase.state == PurchaseState::Granted) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the demo purchase was paid, but no webhook arrived")
}
