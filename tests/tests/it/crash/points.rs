//! A process kills itself with SIGKILL at each of its named points, one after the other on one stack: after the
//! next start nothing is lost, nothing is doubled, at most two seconds of a stream are unbilled, and the books
//! balance.
//!
//! A point is set by `FAREBOX_FAILPOINTS` (debug builds only).

use crate::crash::MODEL;
use crate::support::{ask, scripted, tokens};
use e2e::{Customer, Key, Options, Stack, Streamed, eventually, full_size};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Seconds after which a hold that no journal knows is swept.
const HOLD_LIFETIME: u32 = 8;
const REST: Duration = Duration::from_secs(60);
const DEATH: Duration = Duration::from_secs(40);
/// Pace and length of a stream.
const PACE_MS: i64 = 50;
const LENGTH: u32 = 130;
/// A crash may leave so much of a stream unbilled.
const UNBILLED_MS: i64 = 2_000;
/// Points between two proofs of the books in the short form.
const PROOF_EVERY: usize = 8;

/// What brings the process to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drive {
    /// A whole answer.
    Call,
    Stream,
    /// A call that every provider refuses.
    Failing,
    Purchase,
    /// The start alone.
    Start,
    /// A start after a death between the SETTLE record and the engine.
    Replay,
    /// The same, and the engine has lost everything meanwhile.
    ReplayOnEmptyRedis,
    /// A start after a death between the engine's answer and the ADMIT record.
    Sweep,
    /// The engine loses everything under a living process.
    EmptyRedis,
    /// `provider add`, a command that publishes a catalog.
    Publish,
}

/// What must be true of the call that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charge {
    /// Nothing was delivered: nothing is charged.
    None,
    /// The settlement was written: it is charged in full.
    Full,
    /// What was delivered, but for the last two seconds.
    Delivered,
}

type Point = (&'static str, u32, Drive, Charge);

/// Every point, in the order of a call's life.
const POINTS: [Point; 42] = [
    ("gateway.before_reserve", 1, Drive::Call, Charge::None),
    ("gateway.reserved", 1, Drive::Call, Charge::None),
    ("gateway.admitted", 1, Drive::Call, Charge::None),
    ("gateway.called", 1, Drive::Call, Charge::None),
    ("gateway.first_output", 1, Drive::Stream, Charge::Delivered),
    ("gateway.mid_stream", 20, Drive::Stream, Charge::Delivered),
    ("gateway.mid_stream", 70, Drive::Stream, Charge::Delivered),
    ("gateway.metered", 1, Drive::Stream, Charge::Delivered),
    ("gateway.metered", 2, Drive::Stream, Charge::Delivered),
    ("gateway.extended", 1, Drive::Stream, Charge::Delivered),
    ("gateway.last_byte", 1, Drive::Stream, Charge::Delivered),
    ("gateway.before_settle_record", 1, Drive::Call, Charge::None),
    ("gateway.before_settle_record", 1, Drive::Stream, Charge::Delivered),
    ("gateway.settle_recorded", 1, Drive::Call, Charge::Full),
    ("gateway.settle_recorded", 1, Drive::Stream, Charge::Full),
    ("gateway.settle_answered", 1, Drive::Call, Charge::Full),
    ("gateway.settled", 1, Drive::Call, Charge::Full),
    ("gateway.before_release", 1, Drive::Failing, Charge::None),
    ("gateway.released", 1, Drive::Failing, Charge::None),
    ("journal.durable", 1, Drive::Stream, Charge::Delivered),
    ("confirm.asked", 1, Drive::Call, Charge::Full),
    ("confirm.forgotten", 1, Drive::Call, Charge::Full),
    ("confirm.repeated", 1, Drive::Replay, Charge::Full),
    ("replay.read", 1, Drive::Replay, Charge::Full),
    ("replay.asked", 1, Drive::Replay, Charge::Full),
    ("replay.remembered", 1, Drive::Replay, Charge::Full),
    ("replay.done", 1, Drive::Replay, Charge::Full),
    ("late.before_commit", 1, Drive::ReplayOnEmptyRedis, Charge::Full),
    ("late.committed", 1, Drive::ReplayOnEmptyRedis, Charge::Full),
    ("ingest.read", 1, Drive::Call, Charge::Full),
    ("ingest.before_commit", 1, Drive::Call, Charge::Full),
    ("ingest.committed", 1, Drive::Call, Charge::Full),
    ("ingest.trimmed", 1, Drive::Call, Charge::Full),
    ("sweep.swept", 1, Drive::Sweep, Charge::None),
    ("epochs.raised", 1, Drive::EmptyRedis, Charge::None),
    ("epochs.drained", 1, Drive::EmptyRedis, Charge::None),
    ("epochs.opened", 1, Drive::EmptyRedis, Charge::None),
    ("webhook.received", 1, Drive::Purchase, Charge::None),
    ("purchase.before_commit", 1, Drive::Purchase, Charge::None),
    ("purchase.committed", 1, Drive::Purchase, Charge::None),
    ("credits.sent", 1, Drive::Purchase, Charge::None),
    ("webhook.credited", 1, Drive::Purchase, Charge::None),
];
const STARTS: [Point; 3] = [
    ("partitions.begun", 1, Drive::Start, Charge::None),
    ("catalog.before_commit", 1, Drive::Publish, Charge::None),
    ("catalog.committed", 1, Drive::Publish, Charge::None),
];

/// One run of one point.
struct Run<'a> {
    stack: &'a mut Stack,
    customer: &'a mut Customer,
    key: &'a Key,
    tag: String,
    /// What a whole call costs.
    price: i64,
    stream_price: i64,
}

/// What the client of a cut call has seen.
#[derive(Default)]
struct Seen {
    text: String,
    chunks: usize,
    cost: Option<i64>,
    session: Option<String>,
}

/// A body whose price does not depend on who answers or what was asked before: one provider, one usage.
fn body_of(tag: &str, text: &str, mut script: Value, completion: u32) -> Value {
    script["usage"] =
        json!({ "prompt_tokens": 40, "completion_tokens": completion, "total_tokens": 40 + completion });
    let mut body = ask(MODEL, &scripted(text, &script), completion + 20);
    body["session_id"] = json!(tag);
    body["provider"] = json!({ "only": ["groq"] });
    body
}

fn call_body(tag: &str) -> Value {
    body_of(tag, "Quick.", json!({ "completion_tokens": 30 }), 30)
}

fn stream_body(tag: &str) -> Value {
    body_of(tag, "A story.", json!({ "completion_tokens": LENGTH, "chunk_delay_ms": PACE_MS }), LENGTH)
}

fn failing_body(tag: &str) -> Value {
    body_of(tag, "Fail.", json!({ "status": 500 }), 20)
}

/// Reads what comes until the process is gone.
async fn read(key: &Key, body: &Value) -> Seen {
    let mut seen = Seen::default();
    let note = |read: &Streamed| {
        seen.text.clone_from(&read.text);
        seen.chunks = read.chunks.len();
        if read.done {
            seen.cost = read.cost().ok();
        }
        false
    };
    let _cut = key.stream_until(body, note).await;
    seen
}

impl Run<'_> {
    /// Brings the process to the point, starts another one and waits until nothing is on its way.
    async fn go(&mut self, point: Point) -> Seen {
        let (name, times, drive, _charge) = point;
        let armed = format!("{name}=kill@{times}");
        let seen = self.prepare(drive).await;
        if drive == Drive::Publish {
            self.publish(&armed).await;
            return seen;
        }
        self.stack.kill_gateway(0).unwrap();
        let alive = self.stack.start_gateway_with(0, &[("FAREBOX_FAILPOINTS", &armed)]).await.unwrap();
        let seen = if alive { self.drive(drive, seen).await } else { seen };
        self.stack.gateway_ends(0, DEATH).await.unwrap_or_else(|error| panic!("{armed}: {error}"));
        self.stack.restart_gateway(0).await.unwrap();
        if let Some(session) = &seen.session {
            Customer::granted(self.stack, session).await.unwrap();
        }
        self.stack.at_rest(REST).await.unwrap_or_else(|error| panic!("{armed}: {error}"));
        seen
    }

    /// Leaves something to be replayed or swept.
    async fn prepare(&mut self, drive: Drive) -> Seen {
        let before = match drive {
            Drive::Replay | Drive::ReplayOnEmptyRedis => "gateway.settle_recorded=kill",
            Drive::Sweep => "gateway.reserved=kill",
            _ => return Seen::default(),
        };
        self.stack.kill_gateway(0).unwrap();
        assert!(self.stack.start_gateway_with(0, &[("FAREBOX_FAILPOINTS", before)]).await.unwrap());
        let _cut = self.key.chat(&call_body(&self.tag)).await;
        self.stack.gateway_ends(0, DEATH).await.unwrap();
        if drive == Drive::ReplayOnEmptyRedis {
            self.stack.redis.run(&["FLUSHALL"]).unwrap();
        }
        Seen::default()
    }

    async fn drive(&mut self, drive: Drive, seen: Seen) -> Seen {
        match drive {
            Drive::Call => {
                let answer = self.key.chat(&call_body(&self.tag)).await;
                let cost = answer.ok().filter(|reply| reply.status == 200).map(|reply| reply.cost().unwrap());
                Seen { cost, ..seen }
            }
            Drive::Failing => {
                let _refused = self.key.chat(&failing_body(&self.tag)).await;
                seen
            }
            Drive::Stream => read(self.key, &stream_body(&self.tag)).await,
            Drive::Purchase => {
                let session = self.customer.checkout("5").await.unwrap();
                self.stack.payments.pay(&session).await.unwrap();
                Seen { session: Some(session), ..seen }
            }
            Drive::EmptyRedis => {
                self.stack.redis.run(&["FLUSHALL"]).unwrap();
                seen
            }
            _ => seen,
        }
    }

    /// The command dies at its point; said again, it has done its work once.
    async fn publish(&mut self, armed: &str) {
        let name = self.tag.replace('.', "-");
        let base = self.stack.providers.local(&name);
        let arguments = [
            "provider",
            "add",
            &name,
            "--base-url",
            &base,
            "--model",
            "plain",
            "--price-prompt",
            "1",
            "--price-completion",
            "1",
            "--context-length",
            "1000",
            "--max-completion-tokens",
            "100",
        ];
        let died = self.stack.farebox_with(&arguments, &[("FAREBOX_FAILPOINTS", armed)]).await.unwrap();
        assert!(!died.success, "{armed}: {}", died.output);
        let _again = self.stack.farebox(&arguments).await.unwrap();
        let published = format!("SELECT count(*) FROM provider WHERE slug = '{name}'");
        assert_eq!(self.stack.database.number(&published).unwrap(), 1, "{armed}");
        let reply = eventually(REST, "the new model answers", || async {
            let reply = self.key.chat(&ask(&format!("{name}/plain"), "Hello", 10)).await?;
            Ok((reply.status == 200).then_some(reply))
        });
        reply.await.unwrap();
        self.stack.at_rest(REST).await.unwrap();
    }

    /// Nothing lost, nothing doubled. Gives the milliseconds of a stream that were not billed.
    fn judge(&self, point: Point, seen: &Seen) -> i64 {
        let (name, times, drive, charge) = point;
        let row = |what: &str| {
            let sql = format!(
                "SELECT coalesce(sum({what}), 0) FROM generation WHERE record->>'si' = '{}'",
                self.tag
            );
            self.stack.database.number(&sql).unwrap()
        };
        let (rows, charged, billed) = (row("1"), row("charge_nano_usd"), row("completion_tokens"));
        assert!(rows <= 1, "{name}@{times}: booked {rows} times");
        let full = if drive == Drive::Stream { self.stream_price } else { self.price };
        if let Some(cost) = seen.cost {
            assert_eq!(charged, cost, "{name}@{times}: the client was told {cost}");
        }
        match charge {
            Charge::None if seen.cost.is_none() => assert_eq!(charged, 0, "{name}@{times}"),
            Charge::Full => assert_eq!((rows, charged), (1, full), "{name}@{times}"),
            _ => {}
        }
        if charge != Charge::Delivered {
            return 0;
        }
        let delivered = tokens(&seen.text);
        let pieces = i64::try_from(seen.chunks).unwrap().max(1);
        let unbilled_ms = (delivered - billed).max(0) * PACE_MS * pieces / delivered.max(1);
        // The provider keeps its pace at best, so what it sent in two seconds is no more than this.
        let most = UNBILLED_MS + UNBILLED_MS / 4;
        assert!(unbilled_ms <= most, "{name}@{times}: {billed} of {delivered} tokens billed");
        assert!(charged <= full, "{name}@{times}: {charged} is more than the whole stream costs");
        unbilled_ms
    }
}

/// A customer's ledger is what was bought minus what was charged, and no generation was charged twice.
fn balanced(stack: &Stack, customer: &Customer) {
    super::charged_once(stack, customer.bought(stack).unwrap(), customer.balance(stack).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_at_any_of_its_points_loses_nothing_and_doubles_nothing() {
    let begun = Instant::now();
    let options = Options { hold_lifetime_seconds: HOLD_LIFETIME, ..Options::default() };
    let mut stack = Stack::start(options).await.unwrap();
    let (mut customer, key) = stack.paying("25").await.unwrap();
    let price = key.chat(&call_body("warm")).await.unwrap().cost().unwrap();
    let stream_price = read(&key, &stream_body("warm stream")).await.cost.unwrap();
    assert!(price > 0 && stream_price > price);
    let (rounds, mut crashes, mut worst) = (if full_size() { 20 } else { 1 }, 0, 0);
    for round in 0..rounds {
        for (number, point) in POINTS.into_iter().chain(STARTS).enumerate() {
            let tag = format!("{}.{}.{round}", point.0.replace('_', "-"), number);
            let (stack, customer) = (&mut stack, &mut customer);
            let mut run = Run { stack, customer, key: &key, tag, price, stream_price };
            let seen = run.go(point).await;
            let unbilled = run.judge(point, &seen);
            (crashes, worst) = (crashes + 1, worst.max(unbilled));
            println!("{:>4} s  {} @ {}", begun.elapsed().as_secs(), point.0, point.1);
            balanced(stack, customer);
            if full_size() || number % PROOF_EVERY == 0 {
                stack.verify().await.unwrap();
            }
        }
    }
    stack.verify().await.unwrap();
    println!(
        "{crashes} crashes at {} points, at most {worst} ms of a stream unbilled",
        POINTS.len() + STARTS.len()
    );
}
