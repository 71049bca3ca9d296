//! An engine on a test's Redis, accounts made to order, and raw calls for what the contract does not allow.

use billing::engine::{
    AccountRef, AccountState, ByokState, Cap, CapId, CapPeriod, CreditEngine as _, EngineEpochs as _,
    EngineUpkeep as _, Grant, HoldKey, Loaded, OwnKeyTerms, Reserve, Reserved, Settled, Settlement, shard_of,
};
use billing::fees::Allowance;
use kernel::clock::SystemClock;
use kernel::ids::{AccountId, GenerationId};
use kernel::rng::SystemEntropy;
use kernel::{Clock as _, Moment, NanoUsd};
use std::time::Duration;
use store_redis::{Epochs, RedisEngine, load_library};

/// The library as it is loaded.
const LIBRARY_TEXT: &str = include_str!("../../src/lua/credit_v1.lua");

pub(crate) const CENT: i64 = 10_000_000;
pub(crate) const DOLLAR: i64 = 100 * CENT;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// An engine with the raw connection beside it.
pub(crate) struct Bed {
    pub(crate) engine: RedisEngine,
    pub(crate) raw: redis::aio::MultiplexedConnection,
    pub(crate) url: String,
    /// Kept so that a private server lives as long as its test.
    _server: Option<testkit::redis::Server>,
}

impl Bed {
    /// On the server that tests share; every shard serves.
    pub(crate) async fn shared() -> Self {
        let bed = Self::on(testkit::redis::url(), None).await;
        for shard in 0..64 {
            bed.open_some_epoch(shard).await;
        }
        bed
    }

    /// On a server of its own; every shard serves in epoch 1.
    pub(crate) async fn private() -> Self {
        let bed = Self::bare().await;
        for shard in 0..64 {
            bed.engine.open_epoch(shard, 1).await.unwrap();
        }
        bed
    }

    /// On a server of its own, without any epoch, whose clock is moved by `set_clock` alone.
    pub(crate) async fn with_clock() -> Self {
        let bed = Self::bare().await;
        let library = LIBRARY_TEXT.replace("call('TIME')", "call('LRANGE', '{clock}', 0, 1)");
        assert_ne!(library, LIBRARY_TEXT);
        let () = bed.command(&["FUNCTION", "LOAD", "REPLACE", &library]).await;
        bed
    }

    /// What the functions take for now, on a bed with such a clock.
    pub(crate) async fn set_clock(&self, now: Moment) {
        let mut set = redis::pipe();
        set.atomic().del("{clock}").ignore();
        set.rpush("{clock}", &[now.timestamp(), i64::from(now.timestamp_subsec_micros())]).ignore();
        let () = set.query_async(&mut self.raw.clone()).await.unwrap();
    }

    /// On a server of its own, without any epoch.
    pub(crate) async fn bare() -> Self {
        let server = testkit::redis::private();
        Self::on(server.url().to_owned(), Some(server)).await
    }

    async fn on(url: String, server: Option<testkit::redis::Server>) -> Self {
        load_library(&url).await.unwrap();
        let engine = RedisEngine::connect(&url, Epochs::new(&[])).await.unwrap();
        let client = redis::Client::open(url.as_str()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let raw = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        Self { engine, raw, url, _server: server }
    }

    /// The epoch that is there, else the first one that this process may open. Other tests do the same now.
    async fn open_some_epoch(&self, shard: u8) {
        let status = self.call("fb1_status", shard, &[]).await;
        let words: Vec<&str> = status.split('|').collect();
        match words[..] {
            ["OK", epoch, ..] => self.engine.set_epochs(&[(shard, epoch.parse().unwrap())]),
            ["OTHER", epoch] => {
                let next = epoch.parse::<i64>().unwrap() + 1;
                self.engine.open_epoch(shard, next).await.unwrap();
            }
            _ => self.engine.open_epoch(shard, 1).await.unwrap(),
        }
    }

    /// A function call with exactly these arguments; its raw answer.
    pub(crate) async fn call(&self, function: &str, shard: u8, arguments: &[&str]) -> String {
        let mut command = redis::cmd("FCALL");
        command.arg(function).arg(1).arg(format!("{{c{shard:02}}}")).arg(arguments);
        command.query_async(&mut self.raw.clone()).await.unwrap()
    }

    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.raw.clone()).await.unwrap()
    }

    /// Waits until Redis' own clock has passed another two milliseconds.
    pub(crate) async fn pass_two_milliseconds(&self) {
        let start: (i64, i64) = self.command(&["TIME"]).await;
        loop {
            let (seconds, micros): (i64, i64) = self.command(&["TIME"]).await;
            if (seconds - start.0) * 1_000_000 + micros - start.1 > 2000 {
                return;
            }
        }
    }

    /// Rewrites what Redis has of a cap, to play windows that no test can wait for. `numbers` are limit, used
    /// and reserved; the layout is the library's `CAP`.
    pub(crate) async fn rewrite_cap(&self, account: AccountRef, cap: &str, numbers: [i64; 3], window: &str) {
        let mut packed: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()[..7].to_vec()).collect();
        packed.extend_from_slice(window.as_bytes());
        packed.push(0);
        let key = format!("{{c{:02}}}:a:{}", account.shard, account.account.uuid().simple());
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg(cap).arg(packed);
        let _: i64 = command.query_async(&mut self.raw.clone()).await.unwrap();
    }

    pub(crate) async fn load(&self, state: &AccountState) {
        let kept = self.engine.kept_holds(state.account).await.unwrap();
        let loaded = self.engine.load(state, &kept).await.unwrap();
        assert!(matches!(loaded, Loaded::Done { .. }), "{loaded:?}");
    }

    pub(crate) async fn granted(&self, request: &Reserve<'_>) -> Grant {
        match self.engine.reserve(request).await.unwrap() {
            Reserved::Granted(grant) => grant,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub(crate) async fn settle(&self, grant: &Grant, amount: i64) -> Settled {
        self.settle_with(grant, amount, amount).await
    }

    pub(crate) async fn settle_with(&self, grant: &Grant, amount: i64, list_price: i64) -> Settled {
        let settlement = Settlement {
            amount: NanoUsd::new(amount),
            list_price: NanoUsd::new(list_price),
            record: "{\"g\":1}",
        };
        without_version(self.engine.settle(&grant.key, grant.account, &settlement).await.unwrap())
    }

    /// Balance, reserved.
    pub(crate) async fn money(&self, account: AccountRef) -> (i64, i64) {
        let balance = self.engine.balance(account).await.unwrap().unwrap();
        (balance.balance.get(), balance.reserved.get())
    }

    /// Used, reserved of a cap.
    pub(crate) async fn cap(&self, account: AccountRef, id: &str) -> (i64, i64) {
        let caps = self.engine.caps(account, &[CapId(id.to_owned())]).await.unwrap();
        (caps[0].used.get(), caps[0].reserved.get())
    }
}

pub(crate) fn new_account() -> AccountRef {
    let account = AccountId::new(&SystemClock::new(), &SystemEntropy);
    AccountRef { account, shard: shard_of(account) }
}

pub(crate) fn new_hold(funding: u8) -> HoldKey {
    HoldKey { generation: GenerationId::new(&SystemClock::new(), &SystemEntropy), funding }
}

pub(crate) fn window_now(period: CapPeriod) -> i64 {
    period.window(SystemClock::new().now())
}

/// An account with a balance, an allowance of 40 own-key requests and no caps.
pub(crate) fn state(balance: i64) -> AccountState {
    AccountState {
        account: new_account(),
        posted: NanoUsd::new(balance),
        credit_seq: 3,
        debit_seq: 5,
        granted: NanoUsd::new(balance),
        frozen: false,
        byok: ByokState {
            allowance: Allowance::Requests(40),
            month: window_now(CapPeriod::Monthly),
            requests: 0,
            list_price: NanoUsd::ZERO,
        },
        caps: Vec::new(),
        booked: Vec::new(),
    }
}

pub(crate) fn cap(id: &str, limit: i64, period: CapPeriod, used: i64) -> Cap {
    Cap {
        id: CapId(id.to_owned()),
        limit: NanoUsd::new(limit),
        period,
        window: window_now(period),
        used: NanoUsd::new(used),
    }
}

pub(crate) fn ids(names: &[&str]) -> Vec<CapId> {
    names.iter().map(|name| CapId((*name).to_owned())).collect()
}

/// A reserve of exactly `amount` on credits for a minute.
pub(crate) fn exactly(account: AccountRef, amount: i64, caps: &[CapId]) -> Reserve<'_> {
    Reserve {
        key: new_hold(1),
        account,
        want: NanoUsd::new(amount),
        least: NanoUsd::new(amount),
        lifetime: MINUTE,
        own_key: None,
        owner: "k=1|w=2",
        caps,
    }
}

/// A reserve on the customer's own key with this fee, which is 5 % of the ceiling.
pub(crate) fn own_key(account: AccountRef, fee: i64) -> Reserve<'static> {
    let ceiling = NanoUsd::new(fee * 20);
    let own_key = Some(OwnKeyTerms { ceiling, basis_points: 500 });
    Reserve { own_key, key: new_hold(0), ..exactly(account, fee, &[]) }
}

/// The account's version in an answer, taken out so that the rest can be compared.
pub(crate) fn without_version(settled: Settled) -> Settled {
    match settled {
        Settled::Done { charge, uncollected, balance, .. } => {
            Settled::Done { charge, uncollected, balance, version: 0 }
        }
        other => other,
    }
}

pub(crate) fn done(charge: i64, uncollected: i64, balance: i64) -> Settled {
    Settled::Done {
        charge: NanoUsd::new(charge),
        uncollected: NanoUsd::new(uncollected),
        balance: NanoUsd::new(balance),
        version: 0,
    }
}

#[expect(clippy::disallowed_methods, reason = "the size of a test is told by the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
