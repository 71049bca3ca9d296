//! The connection and the one way in which a function is called.
//!
//! What the acts mean is in `credits`, `upkeep`, `outbox` and `audit`.

use crate::epochs::Epochs;
use crate::keys;
use crate::reply::{Refusal, Reply};
use kernel::{NanoUsd, StoreError};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::time::Duration;

/// How long an answer may take. After it the outcome is unknown: the act is asked again by its hold key.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// The longest pause before the one retry of a lost connection.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The credit engine on one Redis, over one multiplexed connection that mends itself. Cheap to clone;
/// a worker that wants a connection of its own connects with the same [`Epochs`].
#[derive(Clone)]
pub struct RedisEngine {
    connection: ConnectionManager,
    epochs: Epochs,
}

impl RedisEngine {
    /// Connects; `load_library` must have run against this Redis before the first act.
    pub async fn connect(url: &str, epochs: Epochs) -> Result<Self, StoreError> {
        let (client, config) = settings(url)?;
        let connection = ConnectionManager::new_with_config(client, config)
            .await
            .map_err(|fault| trouble("connecting", fault))?;
        Ok(Self { connection, epochs })
    }

    /// Connects with its first act. The connection is then driven by the thread of that act, so that an
    /// engine of one worker costs no hand-off between threads.
    pub fn on_first_use(url: &str, epochs: Epochs) -> Result<Self, StoreError> {
        let (client, config) = settings(url)?;
        let connection = ConnectionManager::new_lazy_with_config(client, config)
            .map_err(|fault| trouble("the address", fault))?;
        Ok(Self { connection, epochs })
    }

    /// Takes newer epochs over, for every engine that shares them.
    pub fn set_epochs(&self, known: &[(u8, i64)]) {
        self.epochs.set(known);
    }

    /// The process that answers, for the ledger's `next_epoch`. A restart changes it, and so does a failover.
    pub async fn run_id(&self) -> Result<String, StoreError> {
        let info: String = self.query(redis::cmd("INFO").arg("server"), "INFO").await?;
        run_id_in(&info)
    }

    pub(crate) fn epoch_of(&self, shard: u8) -> Result<i64, StoreError> {
        self.epochs.get(shard)
    }

    /// An act in a shard with the epoch this process believes in; the caller adds the other arguments.
    pub(crate) fn act(&self, function: &'static str, shard: u8) -> Result<Act, StoreError> {
        Ok(Act::new(function, shard).with(self.epoch_of(shard)?))
    }

    /// Runs an act. Refusals that concern the shard and not the act become errors here.
    pub(crate) async fn run(&self, act: Act) -> Result<Reply, StoreError> {
        let text: String = self.query(&act.command, act.function).await?;
        let reply = Reply::new(act.function, act.shard, text);
        match reply.refusal() {
            Some(refusal) => Err(refusal.into_error(&reply)),
            None => Ok(reply),
        }
    }

    pub(crate) async fn query<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
        what: &str,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        command.query_async(&mut connection).await.map_err(|fault| trouble(what, fault))
    }

    /// Several commands in one round trip; they are not one act.
    pub(crate) async fn query_all<T: redis::FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
        what: &str,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        commands.query_async(&mut connection).await.map_err(|fault| trouble(what, fault))
    }
}

fn settings(url: &str) -> Result<(redis::Client, ConnectionManagerConfig), StoreError> {
    let client = redis::Client::open(url).map_err(|fault| trouble("the address", fault))?;
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(ANSWER_WITHIN))
        .set_connection_timeout(Some(CONNECT_WITHIN))
        // Whoever waits behind a lost connection is told soon; the next act tries again.
        .set_number_of_retries(1)
        .set_max_delay(RETRY_DELAY);
    Ok((client, config))
}

/// One function call in the making.
pub(crate) struct Act {
    function: &'static str,
    shard: u8,
    command: redis::Cmd,
}

impl Act {
    /// Without an epoch; nearly always [`RedisEngine::act`] is meant.
    pub(crate) fn new(function: &'static str, shard: u8) -> Self {
        let mut command = redis::cmd("FCALL");
        command.arg(function).arg(1).arg(keys::tag(shard));
        Self { function, shard, command }
    }

    pub(crate) fn with(mut self, argument: impl redis::ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    /// An amount that must lie between zero and [`NanoUsd::REDIS_MAX`].
    pub(crate) fn amount(self, amount: NanoUsd) -> Result<Self, StoreError> {
        if amount.is_negative() || amount > NanoUsd::REDIS_MAX {
            let function = self.function;
            return Err(StoreError::corrupt(format!(
                "redis: {function}: amount {} out of range",
                amount.get()
            )));
        }
        Ok(self.with(amount.get()))
    }

    /// A lifetime in milliseconds, at least one.
    pub(crate) fn lifetime(self, lifetime: Duration) -> Self {
        self.with(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX >> 12).max(1))
    }
}

/// The process, as INFO names it.
pub(crate) fn run_id_in(info: &str) -> Result<String, StoreError> {
    info.lines()
        .find_map(|line| line.strip_prefix("run_id:"))
        .map(|id| id.trim().to_owned())
        .ok_or_else(|| StoreError::corrupt("redis: INFO without run_id"))
}

/// What Redis or the way to it failed with. Refusals of ours never come this way.
pub(crate) fn trouble(what: &str, fault: redis::RedisError) -> StoreError {
    let context = format!("redis: {what}");
    if did_nothing(&fault) {
        StoreError::moving(context, fault)
    } else {
        StoreError::unavailable(context, fault)
    }
}

/// Whether Redis said that it changed nothing because it is no primary that may write: a replica, a primary that
/// has lost its replicas, one that still reads its file; or nobody listened at all.
fn did_nothing(fault: &redis::RedisError) -> bool {
    const NO_PRIMARY: [&str; 4] = ["NOREPLICAS", "READONLY", "LOADING", "MASTERDOWN"];
    fault.is_connection_refusal() || fault.code().is_some_and(|code| NO_PRIMARY.contains(&code))
}

impl Refusal {
    fn into_error(self, reply: &Reply) -> StoreError {
        match self {
            Self::BadArgument | Self::Range => StoreError::corrupt(format!("redis: {reply}: {self}")),
            Self::NoEpoch | Self::OtherProcess | Self::Stale | Self::Sealed => {
                StoreError::moving(format!("redis: {reply}"), self)
            }
            Self::NotLoaded => StoreError::unavailable(format!("redis: {reply}"), self),
        }
    }
}
