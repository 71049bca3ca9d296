//! A customer: somebody who signed up in a browser, bought credits with a card, made a key, and calls.

use crate::calls::{Reply, Streamed, nano, text_of};
use crate::site::{Site, attribute};
use crate::stack::Stack;
use crate::wait::eventually;
use anyhow::Context as _;
use reqwest::{Client, Method};
use serde_json::Value;
use std::time::Duration;

const PURCHASE: Duration = Duration::from_secs(20);

/// A person with an organization of their own.
#[derive(Debug, Clone)]
pub struct Customer {
    pub email: String,
    /// Their browser, signed in.
    pub site: Site,
    /// The organization's id in the database.
    pub org: String,
}

/// What a new key shall be; all empty is a key without limits.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyWish<'a> {
    /// Dollars, like `0.50`.
    pub limit: &'a str,
    /// `daily`, `weekly`, `monthly`, or empty for never.
    pub reset: &'a str,
}

/// An API key and where it is used.
#[derive(Debug, Clone)]
pub struct Key {
    pub secret: String,
    /// Ends in `/api/v1`.
    base: String,
    http: Client,
}

impl Customer {
    /// Signs up through the form.
    pub(crate) async fn sign_up(stack: &Stack, email: &str) -> anyhow::Result<Self> {
        let mut site = Site::new(&stack.gateway(0)?.url(), stack.http.clone());
        let fields = [("email", email), ("password", "a long enough password 7")];
        let page = site.submit("/sign-up", "/sign-up", &fields).await?;
        anyhow::ensure!(page.location.as_deref() == Some("/dashboard"), "sign-up: {}", page.status);
        Self::known(stack, email, site)
    }

    pub(crate) fn known(stack: &Stack, email: &str, site: Site) -> anyhow::Result<Self> {
        let org = stack.database.ask(&format!(
            "SELECT m.org_id FROM member m JOIN person p ON p.id = m.person_id WHERE p.email = '{email}'"
        ))?;
        anyhow::ensure!(!org.is_empty(), "{email} has no organization");
        Ok(Self { email: email.to_owned(), site, org })
    }

    /// Buys credits: form, hosted page, webhook, and the purchase's own page says that it is paid.
    pub async fn buy(&mut self, stack: &Stack, dollars: &str) -> anyhow::Result<()> {
        let session = self.checkout(dollars).await?;
        stack.payments.pay(&session).await?;
        Self::granted(stack, &session).await
    }

    /// Begins a purchase; gives the hosted page's session, which is not paid yet.
    pub async fn checkout(&mut self, dollars: &str) -> anyhow::Result<String> {
        let form = format!("/credits/confirm?amount={dollars}");
        let begun = self.site.submit(&form, "/credits/purchases", &[("amount", dollars)]).await?;
        let checkout = begun.location.with_context(|| format!("no checkout: {}", begun.status))?;
        Ok(checkout.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Waits until what was paid is credited.
    pub async fn granted(stack: &Stack, session: &str) -> anyhow::Result<()> {
        let id = stack.database.ask(&format!("SELECT id FROM purchase WHERE session = '{session}'"))?;
        anyhow::ensure!(!id.is_empty(), "the purchase of {session} is unknown");
        eventually(PURCHASE, "the purchase is granted", || async {
            let state = stack.database.ask(&format!("SELECT state FROM purchase WHERE id = '{id}'"))?;
            Ok((state == "granted").then_some(()))
        })
        .await
    }

    /// Makes a key through the form; it is shown once.
    pub async fn key(&mut self, stack: &Stack, wish: KeyWish<'_>) -> anyhow::Result<Key> {
        let fields = [("name", "test key"), ("limit", wish.limit), ("reset", wish.reset), ("expires", "")];
        self.key_of_form(stack, &fields).await
    }

    /// Makes a management key through the form.
    pub async fn management_key(&mut self, stack: &Stack) -> anyhow::Result<Key> {
        self.key_of_form(stack, &[("name", "manager"), ("kind", "management")]).await
    }

    async fn key_of_form(&mut self, stack: &Stack, fields: &[(&str, &str)]) -> anyhow::Result<Key> {
        let made = self.site.submit("/keys/new", "/keys", fields).await?;
        let way = made.location.with_context(|| format!("no key was made ({})", made.status))?;
        let page = self.site.get(&way).await?;
        let shown = page.body.split_once("id=\"secret\">").map(|(_, rest)| rest);
        let secret = shown.and_then(|rest| rest.split('<').next());
        let secret = secret.with_context(|| format!("no key was shown ({})", page.status))?;
        stack.key(0, secret)
    }

    /// Stores an own key at a provider through the form.
    pub async fn provider_key(&mut self, provider: &str, secret: &str, fallback: bool) -> anyhow::Result<()> {
        let mut fields = vec![("provider", provider), ("secret", secret), ("name", "own key")];
        if fallback {
            fields.push(("fallback", "on"));
        }
        let page = self.site.submit("/provider-keys", "/provider-keys", &fields).await?;
        anyhow::ensure!(page.status == 303, "the provider key was refused: {}", page.status);
        Ok(())
    }

    /// The browser's five-minute token for the gateway.
    pub async fn token(&mut self) -> anyhow::Result<String> {
        let page = self.site.submit("/dashboard", "/account/token", &[]).await?;
        let body: Value = serde_json::from_str(&page.body).context("no token")?;
        Ok(text_of(&body, "/token").to_owned())
    }

    /// The public handle of a key that the list of keys shows, by its label.
    pub async fn key_hash(&mut self) -> anyhow::Result<String> {
        let page = self.site.get("/keys").await?;
        Ok(attribute(&page.body, "action=\"/keys/")
            .and_then(|rest| rest.split('/').next())
            .context("no key")?
            .to_owned())
    }

    /// Bought credits in nano-dollars, as the ledger says.
    pub fn bought(&self, stack: &Stack) -> anyhow::Result<i64> {
        stack.database.number(&format!(
            "SELECT coalesce(sum(amount_cents), 0) * 10000000 FROM purchase WHERE state = 'granted' AND org_id = '{}'",
            self.org
        ))
    }

    /// The ledger's balance in nano-dollars: what was booked, holds not counted.
    pub fn balance(&self, stack: &Stack) -> anyhow::Result<i64> {
        stack.database.number(&format!(
            "SELECT s.posted_nano_usd FROM account_state s JOIN account a ON a.id = s.account_id WHERE a.org_id = '{}'",
            self.org
        ))
    }
}

impl Key {
    pub(crate) fn new(base: String, secret: &str, http: Client) -> Self {
        Self { secret: secret.to_owned(), base, http }
    }

    /// The same key at another process.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: format!("{base}/api/v1"), ..self.clone() }
    }

    /// The same key over other connections.
    #[must_use]
    pub fn over(&self, http: Client) -> Self {
        Self { http, ..self.clone() }
    }

    /// A request below the API's base with this key.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.secret)
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        Reply::read(self.request(Method::GET, path).send().await?).await
    }

    /// Sends JSON and reads the answer as a whole.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Reply> {
        Reply::read(self.request(method, path).json(body).send().await?).await
    }

    /// One chat completion that is not streamed.
    pub async fn chat(&self, body: &Value) -> anyhow::Result<Reply> {
        self.send(Method::POST, "/chat/completions", body).await
    }

    /// One streamed chat completion, read to its end.
    pub async fn stream(&self, body: &Value) -> anyhow::Result<Streamed> {
        self.stream_until(body, |_| false).await
    }

    /// One streamed chat completion; the connection is cut when `enough` says so of what was read.
    pub async fn stream_until(
        &self,
        body: &Value,
        enough: impl FnMut(&Streamed) -> bool,
    ) -> anyhow::Result<Streamed> {
        let mut body = body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("stream".to_owned(), Value::Bool(true));
        }
        let answer = self.request(Method::POST, "/chat/completions").json(&body).send().await?;
        Streamed::read(answer, enough).await
    }

    /// The receipt of a generation. The route itself waits for the ledger.
    pub async fn receipt(&self, generation: &str) -> anyhow::Result<Value> {
        let reply = self.get(&format!("/generation?id={generation}")).await?;
        anyhow::ensure!(reply.status == 200, "no receipt of {generation}: {} {}", reply.status, reply.text);
        reply.body.pointer("/data").cloned().context("a receipt without data")
    }

    /// An amount of a receipt in nano-dollars.
    pub async fn receipt_nano(&self, generation: &str, pointer: &str) -> anyhow::Result<i64> {
        nano(&self.receipt(generation).await?, pointer)
    }

    /// `(total_credits, total_usage)` of `GET /credits`, in nano-dollars.
    pub async fn credits(&self) -> anyhow::Result<(i64, i64)> {
        let reply = self.get("/credits").await?;
        anyhow::ensure!(reply.status == 200, "GET /credits: {} {}", reply.status, reply.text);
        Ok((nano(&reply.body, "/data/total_credits")?, nano(&reply.body, "/data/total_usage")?))
    }
}

/// An amount inside JSON in nano-dollars.
pub fn nano_at(value: &Value, pointer: &str) -> anyhow::Result<i64> {
    nano(value, pointer)
}
