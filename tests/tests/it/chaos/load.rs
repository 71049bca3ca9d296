//! The load: streams, whole answers, own keys, clients that leave and management calls at both gateways, and what
//! was acknowledged of them.

use crate::support::{ask, between, scripted};
use e2e::{Customer, Key, Reply, Stack, Streamed, http_client, text_of};
use futures_util::future::join_all;
use kernel::ids::GenerationId;
use kernel::rng::SeededEntropy;
use reqwest::Method;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const MODEL: &str = "meta-llama/llama-3.3-70b-instruct";
const OWN_PROVIDER: &str = "groq";
const OWN_KEY: &str = "gsk_own_key_of_the_customer_0123456789";
/// Everybody who calls, one call after the other.
const WORKERS: usize = 16;
/// What infrastructure and providers may do to a call. Never 401, 402 or 403, and no 400, 404 or 500.
const TROUBLE: [u16; 4] = [429, 502, 503, 504];
/// Between two calls of a worker, and after a call that was refused.
const PAUSE: Duration = Duration::from_millis(10);
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

/// An answer whose cost a client was told.
struct Acknowledged {
    generation: String,
    cost: i64,
    /// It may still become less.
    provisional: bool,
}

/// How a call ended.
enum Ended {
    Answered(Acknowledged),
    /// It went well and there is no cost to it.
    Well,
    Refused(u16),
    /// The connection broke, or the stream did.
    Cut,
}

/// Whose keys the load uses.
struct People {
    paying: Key,
    owning: Key,
    managing: Key,
    gateways: [String; 2],
}

impl People {
    /// The keys at a gateway.
    fn at(&self, gateway: usize) -> [Key; 3] {
        [&self.paying, &self.owning, &self.managing].map(|key| key.at(&self.gateways[gateway]))
    }
}

pub(super) struct Load {
    people: RefCell<People>,
    /// Somebody who buys credits in between.
    pub(super) buyer: RefCell<Customer>,
    seed: u64,
    /// How providers are asked to fail, now and then.
    troubles: RefCell<Vec<Value>>,
    stopped: Cell<bool>,
    round: Cell<u64>,
    acknowledged: RefCell<Vec<Acknowledged>>,
    counts: RefCell<BTreeMap<(&'static str, String), u64>>,
    troubled: Cell<u64>,
    breaches: RefCell<Vec<String>>,
}

impl Load {
    pub(super) async fn prepare(stack: &Stack, seed: u64) -> Self {
        let (_demo, _key, managing) = stack.demo().await.unwrap();
        let (_payer, paying) = stack.paying("2000").await.unwrap();
        let (mut owner, owning) = stack.paying("20").await.unwrap();
        owner.provider_key(OWN_PROVIDER, OWN_KEY, false).await.unwrap();
        let gateways = [stack.gateway(0).unwrap().url(), stack.gateway(1).unwrap().url()];
        let load = Self {
            people: RefCell::new(People { paying, owning, managing, gateways }),
            buyer: RefCell::new(stack.customer().await.unwrap()),
            seed,
            troubles: RefCell::default(),
            stopped: Cell::new(false),
            round: Cell::new(0),
            acknowledged: RefCell::default(),
            counts: RefCell::default(),
            troubled: Cell::new(0),
            breaches: RefCell::default(),
        };
        load.hang_up();
        load
    }

    /// Everybody calls with connections of their own from now on; the old ones are closed.
    pub(super) fn hang_up(&self) {
        let http = http_client().unwrap();
        let mut people = self.people.borrow_mut();
        let People { paying, owning, managing, .. } = &mut *people;
        for key in [paying, owning, managing] {
            *key = key.over(http.clone());
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    pub(super) fn resume(&self) {
        self.stopped.set(false);
        self.round.set(self.round.get() + 1);
    }

    /// Every third call asks its providers to fail in one of these ways.
    pub(super) fn ask_for(&self, troubles: &[Value]) {
        *self.troubles.borrow_mut() = troubles.to_vec();
    }

    /// A call's body: an answer of so many words, or trouble.
    fn body(&self, entropy: &SeededEntropy, words: usize) -> Value {
        let troubles = self.troubles.borrow();
        let chance = usize::try_from(between(entropy, 0, 3 * 60)).unwrap();
        match troubles.get(chance % (3 * troubles.len()).max(1)) {
            Some(script) => ask(MODEL, &scripted("Say something.", script), 200),
            None => answer(words),
        }
    }

    /// Calls that were refused or broke so far.
    pub(super) fn troubled(&self) -> u64 {
        self.troubled.get()
    }

    pub(super) async fn run(&self) {
        join_all((0..WORKERS).map(|number| self.work(number))).await;
    }

    /// A call as everybody makes them, for looking whether a fault is felt.
    pub(super) async fn probe(&self, gateway: usize) -> Option<u16> {
        let [key, ..] = self.people.borrow().at(gateway);
        self.whole("probe", &key, &answer(20)).await.1
    }

    async fn work(&self, number: usize) {
        let worker = u64::try_from(number).unwrap() << 32;
        let entropy = SeededEntropy::new(self.seed ^ worker ^ self.round.get());
        while !self.stopped.get() {
            let gateway = usize::try_from(between(&entropy, 0, 1)).unwrap();
            let [paying, owning, managing] = self.people.borrow().at(gateway);
            let words = usize::try_from(between(&entropy, 5, 40)).unwrap();
            let mut body = self.body(&entropy, words);
            let went_well = match between(&entropy, 0, 99) {
                0..=54 => self.whole("whole", &paying, &body).await.0,
                55..=79 => self.stream("stream", &paying, &body, usize::MAX).await,
                80..=87 => self.stream("left", &paying, &answer(60), words / 2).await,
                88..=94 => {
                    body["provider"] = json!({ "only": [OWN_PROVIDER] });
                    self.whole("own key", &owning, &body).await.0
                }
                _ => self.manage(&managing).await,
            };
            tokio::time::sleep(if went_well { PAUSE } else { REFUSED_PAUSE }).await;
        }
    }

    fn note(&self, what: &'static str, ended: Ended) -> bool {
        let (name, well) = match ended {
            Ended::Answered(acknowledged) => {
                self.acknowledged.borrow_mut().push(acknowledged);
                ("answered".to_owned(), true)
            }
            Ended::Well => ("well".to_owned(), true),
            Ended::Refused(status) => (status.to_string(), false),
            Ended::Cut => ("cut".to_owned(), false),
        };
        *self.counts.borrow_mut().entry((what, name)).or_default() += 1;
        if !well {
            self.troubled.set(self.troubled.get() + 1);
        }
        well
    }

    fn breach(&self, what: &str, text: &str) {
        let shown: String = text.chars().take(400).collect();
        self.breaches.borrow_mut().push(format!("{what}: {shown}"));
    }

    /// A refusal must be trouble, and say when to come back where we are it.
    fn refused(&self, what: &'static str, reply: &Reply) -> bool {
        if !TROUBLE.contains(&reply.status) {
            self.breach(what, &format!("{} {}", reply.status, reply.text));
        }
        if reply.status == 503 && reply.header("retry-after").is_empty() {
            self.breach(what, &format!("503 without Retry-After: {}", reply.text));
        }
        self.note(what, Ended::Refused(reply.status))
    }

    async fn whole(&self, what: &'static str, key: &Key, body: &Value) -> (bool, Option<u16>) {
        let Ok(reply) = key.chat(body).await else { return (self.note(what, Ended::Cut), None) };
        if reply.status != 200 {
            return (self.refused(what, &reply), Some(reply.status));
        }
        let Ok(cost) = reply.cost() else {
            self.breach(what, &format!("an answer without its cost: {}", reply.text));
            return (false, Some(200));
        };
        let provisional = provisional(&reply.body);
        let generation = reply.generation().to_owned();
        (self.note(what, Ended::Answered(Acknowledged { generation, cost, provisional })), Some(200))
    }

    /// Reads a stream to its end, or leaves it after so many chunks.
    async fn stream(&self, what: &'static str, key: &Key, body: &Value, leave_after: usize) -> bool {
        let read = key.stream_until(body, |read| read.chunks.len() > leave_after).await;
        let Ok(read) = read else { return self.note(what, Ended::Cut) };
        if read.status != 200 {
            let reply = Reply {
                status: read.status,
                headers: read.headers.clone(),
                text: read.refusal.to_string(),
                body: read.refusal,
            };
            return self.refused(what, &reply);
        }
        for code in read.chunks.iter().filter_map(|chunk| chunk.pointer("/error/code")) {
            if !code.as_u64().is_some_and(|code| TROUBLE.iter().any(|trouble| u64::from(*trouble) == code)) {
                self.breach(what, &format!("an error in the stream: {code}"));
            }
        }
        self.note(what, streamed(&read, leave_after))
    }

    /// Looks at the account, and makes and deletes a key.
    async fn manage(&self, key: &Key) -> bool {
        let what = "management";
        let Ok(credits) = key.get("/credits").await else { return self.note(what, Ended::Cut) };
        if credits.status != 200 {
            return self.refused(what, &credits);
        }
        let Ok(made) = key.send(Method::POST, "/keys", &json!({ "name": "soak" })).await else {
            return self.note(what, Ended::Cut);
        };
        if made.status != 201 {
            return self.refused(what, &made);
        }
        let path = format!("/keys/{}", text_of(&made.body, "/data/hash"));
        let Ok(deleted) = key.send(Method::DELETE, &path, &json!({})).await else {
            return self.note(what, Ended::Cut);
        };
        if deleted.status == 200 { self.note(what, Ended::Well) } else { self.refused(what, &deleted) }
    }

    /// Prints what was done; how many requests there were.
    pub(super) fn report(&self) -> u64 {
        let counts = self.counts.borrow();
        let total: u64 = counts.values().sum();
        println!("{total} requests, {} acknowledged: {counts:?}", self.acknowledged.borrow().len());
        total
    }

    /// Every acknowledged answer's cost is in the ledger exactly once, and nothing else was said.
    pub(super) fn judge(&self, stack: &Stack) {
        let breaches = self.breaches.borrow();
        assert!(
            breaches.is_empty(),
            "{} breaches, e.g. {:#?}",
            breaches.len(),
            &breaches[..breaches.len().min(8)]
        );
        let rows = stack.database.ask("SELECT id, charge_nano_usd FROM generation").unwrap();
        let mut booked: HashMap<&str, i64> = HashMap::new();
        for row in rows.lines() {
            let (id, charge) = row.split_once('|').unwrap();
            assert!(booked.insert(id, charge.parse().unwrap()).is_none(), "{id} is booked twice");
        }
        let mut wrong = Vec::new();
        for told in self.acknowledged.borrow().iter() {
            let id = told.generation.parse::<GenerationId>().unwrap().uuid().to_string();
            match booked.get(id.as_str()) {
                Some(charge) if *charge == told.cost => {}
                Some(charge) if told.provisional && *charge <= told.cost => {}
                other => wrong.push(format!("{id} was told {} and is booked as {other:?}", told.cost)),
            }
        }
        assert!(wrong.is_empty(), "{} wrong, e.g. {:#?}", wrong.len(), &wrong[..wrong.len().min(8)]);
        let served = self.acknowledged.borrow().len();
        assert!(served >= 500, "only {served} answers");
    }
}

fn provisional(body: &Value) -> bool {
    body.pointer("/usage/cost_details/provisional") == Some(&Value::Bool(true))
}

fn streamed(read: &Streamed, leave_after: usize) -> Ended {
    if read.chunks.len() > leave_after {
        return Ended::Well;
    }
    let Some(last) = read.chunks.iter().rev().find(|chunk| chunk.pointer("/usage/cost").is_some()) else {
        return Ended::Cut;
    };
    match (read.done, read.cost()) {
        (true, Ok(cost)) => Ended::Answered(Acknowledged {
            generation: read.generation().to_owned(),
            cost,
            provisional: provisional(last),
        }),
        _ => Ended::Cut,
    }
}

fn answer(words: usize) -> Value {
    let script = json!({ "latency_ms": 20, "chunk_delay_ms": 4, "completion_tokens": words });
    ask(MODEL, &scripted("Say something.", &script), 200)
}
