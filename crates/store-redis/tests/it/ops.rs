//! One act of the engine as a value: what is sent, and what is answered. Tests send it to Redis and to the
//! model, and compare.

use billing::engine::{
    AccountRef, AccountState, Balance, Cap, CapId, CapUse, CreditEngine as _, CreditEntry, Credited,
    EngineEpochs as _, EngineUpkeep as _, Extended, Grant, HeldAgain, HoldKey, Kept, Loaded, OwnKeyTerms,
    Reserve, Reserved, Settled, Settlement, ShardEpoch,
};
use kernel::{NanoUsd, StoreError};
use std::time::Duration;
use store_redis::RedisEngine;

/// What goes to the ledger with every settlement.
pub(crate) const RECORD: &str = "{\"g\":\"a|b=c,d\"}";
/// Whose every hold is.
pub(crate) const OWNER: &str = "key|workspace=1,2";

/// A reserve with what it names.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) key: HoldKey,
    pub(crate) account: AccountRef,
    pub(crate) want: i64,
    pub(crate) least: i64,
    pub(crate) lifetime: Duration,
    pub(crate) own_key: Option<OwnKeyTerms>,
    pub(crate) caps: Vec<CapId>,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Reserve(Ask),
    Extend { hold: Grant, extra: i64, metered: i64, lifetime: Duration },
    Settle { key: HoldKey, account: AccountRef, amount: i64, list_price: i64 },
    Release { key: HoldKey, account: AccountRef },
    Sweep { shard: u8, limit: u32 },
    Credit(CreditEntry),
    SetCap { account: AccountRef, cap: Cap },
    Freeze { account: AccountRef, frozen: bool },
    Kept(AccountRef),
    Load { state: Box<AccountState>, unloads: i64 },
    Unload(AccountRef),
    Again { hold: Grant, metered: i64, lifetime: Duration },
    Seal { shard: u8, epoch: i64 },
    Open { shard: u8, epoch: i64 },
    Epoch(u8),
    Balance(AccountRef),
    Caps { account: AccountRef, ids: Vec<CapId> },
    Knows { key: HoldKey, account: AccountRef },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Reserved(Reserved),
    Extended(Extended),
    Settled(Settled),
    Swept(u32),
    Credited(Credited),
    Version(Option<i64>),
    Kept(Kept),
    Loaded(Loaded),
    Unloaded(bool),
    Again(HeldAgain),
    Done,
    Epoch(Option<ShardEpoch>),
    Balance(Option<Balance>),
    Caps(Vec<CapUse>),
    Knows(bool),
    /// The library's word for why the shard or the account could not: SEALED, STALE, MISSING, …
    Refused(String),
    /// No answer came, or none that says what was done.
    Unknown(String),
}

impl Op {
    /// Sends this to an engine.
    pub(crate) async fn send(&self, engine: &RedisEngine) -> Answer {
        match self.try_send(engine).await {
            Ok(answer) => answer,
            Err(error) => refused(&error),
        }
    }

    async fn try_send(&self, engine: &RedisEngine) -> Result<Answer, StoreError> {
        let nano = NanoUsd::new;
        Ok(match self {
            Self::Reserve(ask) => Answer::Reserved(engine.reserve(&ask.request()).await?),
            Self::Extend { hold, extra, metered, lifetime } => {
                Answer::Extended(engine.extend(hold, nano(*extra), nano(*metered), *lifetime).await?)
            }
            Self::Settle { key, account, amount, list_price } => {
                let (amount, list_price) = (nano(*amount), nano(*list_price));
                let settlement = Settlement { amount, list_price, record: RECORD };
                Answer::Settled(engine.settle(key, *account, &settlement).await?)
            }
            Self::Release { key, account } => Answer::Settled(engine.release(key, *account).await?),
            Self::Sweep { shard, limit } => Answer::Swept(engine.sweep(*shard, *limit).await?),
            Self::Credit(entry) => Answer::Credited(engine.credit(entry).await?),
            Self::SetCap { account, cap } => Answer::Version(engine.set_cap(*account, cap).await?),
            Self::Freeze { account, frozen } => Answer::Version(engine.freeze(*account, *frozen).await?),
            Self::Kept(account) => Answer::Kept(sorted(engine.kept_holds(*account).await?)),
            Self::Load { state, unloads } => {
                // What the caller believes in is not the model's affair; it must only be what it was asked with.
                let epoch = engine.kept_holds(state.account).await?.epoch;
                let kept = Kept { holds: Vec::new(), unloads: *unloads, epoch };
                Answer::Loaded(engine.load(state, &kept).await?)
            }
            Self::Unload(account) => Answer::Unloaded(engine.unload(*account).await?),
            Self::Again { hold, metered, lifetime } => {
                Answer::Again(engine.hold_again(hold, nano(*metered), *lifetime, OWNER).await?)
            }
            Self::Seal { shard, epoch } => engine.seal(*shard, *epoch).await.map(|()| Answer::Done)?,
            Self::Open { shard, epoch } => engine.open_epoch(*shard, *epoch).await.map(|()| Answer::Done)?,
            Self::Epoch(shard) => Answer::Epoch(engine.epoch(*shard).await?),
            Self::Balance(account) => Answer::Balance(engine.balance(*account).await?),
            Self::Caps { account, ids } => Answer::Caps(engine.caps(*account, ids).await?),
            Self::Knows { key, account } => Answer::Knows(engine.knows(key, *account).await?),
        })
    }
}

impl Ask {
    pub(crate) fn request(&self) -> Reserve<'_> {
        Reserve {
            key: self.key,
            account: self.account,
            want: NanoUsd::new(self.want),
            least: NanoUsd::new(self.least),
            lifetime: self.lifetime,
            own_key: self.own_key,
            owner: OWNER,
            caps: &self.caps,
        }
    }
}

/// The order of kept holds says nothing, nor does the epoch that the caller believed in.
pub(crate) fn sorted(mut kept: Kept) -> Kept {
    kept.holds.sort_by_key(|key| (key.generation.uuid(), key.funding));
    kept.epoch = 0;
    kept
}

/// `redis: fb1_settle in shard 3: SEALED|2` was refused; anything else may or may not have been done.
fn refused(error: &StoreError) -> Answer {
    let word =
        error.context.rsplit(": ").next().and_then(|reply| reply.split('|').next()).unwrap_or_default();
    match word {
        "NOEPOCH" | "OTHER" | "STALE" | "SEALED" | "MISSING" | "BADARG" | "RANGE" => {
            Answer::Refused(word.to_owned())
        }
        _ => Answer::Unknown(format!("{error:?}")),
    }
}
