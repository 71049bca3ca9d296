//! `CreditEngine`: each method is one call of one function.

use crate::engine::{Act, RedisEngine};
use crate::keys;
use crate::reply::{Reply, Words};
use async_trait::async_trait;
use billing::engine::{
    AccountRef, Balance, CapId, CapPeriod, CapUse, CapWindow, CreditEngine, Extended, Grant, HoldKey,
    OwnKeyTerms, Reserve, Reserved, Settled, Settlement,
};
use kernel::{NanoUsd, StoreError};
use std::time::Duration;

/// The longest text that names the owner of a hold, in bytes.
const OWNER_MAX: usize = 512;

#[async_trait]
impl CreditEngine for RedisEngine {
    async fn reserve(&self, request: &Reserve<'_>) -> Result<Reserved, StoreError> {
        let account = request.account;
        if request.owner.len() > OWNER_MAX {
            return Err(StoreError::corrupt("redis: the owner of a hold is too long"));
        }
        let epoch = self.epoch_of(account.shard)?;
        let act = Act::new("fb1_reserve", account.shard)
            .with(epoch)
            .with(keys::hold_id(&request.key))
            .with(keys::account_id(account.account))
            .amount(request.want)?
            .amount(request.least)?
            .lifetime(request.lifetime);
        let mut act = match request.own_key {
            None => act.with("c"),
            Some(terms) => act.with(own_key(terms)?),
        }
        .with(request.owner);
        for cap in request.caps {
            act = act.with(cap.0.as_str());
        }
        reserved(request, epoch, &self.run(act).await?)
    }

    async fn extend(
        &self,
        hold: &Grant,
        extra: NanoUsd,
        metered: NanoUsd,
        lifetime: Duration,
    ) -> Result<Extended, StoreError> {
        let act = self
            .act("fb1_extend", hold.account.shard)?
            .with(keys::hold_id(&hold.key))
            .with(keys::account_id(hold.account.account))
            .amount(extra)?
            .amount(metered)?
            .lifetime(lifetime);
        let reply = self.run(act).await?;
        let mut words = reply.words();
        match reply.head() {
            "OK" => Ok(Extended::Granted { amount: words.amount()?, version: words.number()? }),
            "REFUSED" => Ok(Extended::Refused { available: words.amount()? }),
            "NOHOLD" => Ok(Extended::NoHold),
            "MISSING" => Err(reply.not_loaded()),
            _ => Err(reply.unexpected()),
        }
    }

    async fn settle(
        &self,
        hold: &HoldKey,
        account: AccountRef,
        settlement: &Settlement<'_>,
    ) -> Result<Settled, StoreError> {
        let act = self
            .act("fb1_settle", account.shard)?
            .with(keys::hold_id(hold))
            .with(keys::account_id(account.account))
            .amount(settlement.amount)?
            .amount(settlement.list_price)?
            .with(settlement.record);
        settled(&self.run(act).await?)
    }

    async fn release(&self, hold: &HoldKey, account: AccountRef) -> Result<Settled, StoreError> {
        let act = self
            .act("fb1_release", account.shard)?
            .with(keys::hold_id(hold))
            .with(keys::account_id(account.account));
        settled(&self.run(act).await?)
    }

    async fn balance(&self, account: AccountRef) -> Result<Option<Balance>, StoreError> {
        let act = self.act("fb1_balance", account.shard)?.with(keys::account_id(account.account));
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => read_balance(&mut reply.words()).map(Some),
            "MISSING" => Ok(None),
            _ => Err(reply.unexpected()),
        }
    }

    async fn caps(&self, account: AccountRef, ids: &[CapId]) -> Result<Vec<CapUse>, StoreError> {
        let mut act = self.act("fb1_caps", account.shard)?.with(keys::account_id(account.account));
        for id in ids {
            act = act.with(id.0.as_str());
        }
        let reply = self.run(act).await?;
        match reply.head() {
            "OK" => {}
            "MISSING" => return Ok(Vec::new()),
            _ => return Err(reply.unexpected()),
        }
        let mut words = reply.words();
        let mut known = Vec::new();
        while words.more() {
            let id = CapId(words.text()?.to_owned());
            known.push(read_cap(id, &mut words)?);
        }
        Ok(known)
    }

    async fn knows(&self, hold: &HoldKey, account: AccountRef) -> Result<bool, StoreError> {
        self.query(redis::cmd("EXISTS").arg(keys::hold(account, hold)), "EXISTS of a hold").await
    }
}

fn reserved(request: &Reserve<'_>, epoch: i64, reply: &Reply) -> Result<Reserved, StoreError> {
    let mut words = reply.words();
    Ok(match reply.head() {
        "OK" => Reserved::Granted(granted(request, epoch, &mut words)?),
        "FUNDS" => Reserved::Insufficient {
            available: words.amount()?,
            balance: words.amount()?,
            reserved: words.amount()?,
        },
        "CAP" => Reserved::CapExceeded {
            cap: CapId(words.text()?.to_owned()),
            limit: words.amount()?,
            used: words.amount()?,
            reserved: words.amount()?,
            period: read_period(&mut words)?,
        },
        "FROZEN" => Reserved::Frozen,
        "DUP" => Reserved::Duplicate(words.amount()?),
        "CLOSED" => Reserved::Closed,
        "MISSING" => Reserved::AccountMissing,
        "NOCAP" => Reserved::CapMissing(CapId(words.text()?.to_owned())),
        _ => return Err(reply.unexpected()),
    })
}

fn granted(request: &Reserve<'_>, epoch: i64, words: &mut Words<'_>) -> Result<Grant, StoreError> {
    let (amount, available, ticket) = (words.amount()?, words.amount()?, words.ticket()?);
    let version = words.number()?;
    let windows = read_windows(words)?;
    let (key, account, own_key) = (request.key, request.account, request.own_key);
    Ok(Grant { key, account, amount, available, ticket, windows, own_key, epoch, version })
}

/// `c` would be credits; this is the customer's own key with its terms.
fn own_key(terms: OwnKeyTerms) -> Result<String, StoreError> {
    let ceiling = terms.ceiling.get();
    if terms.ceiling.is_negative() || terms.ceiling > NanoUsd::REDIS_MAX || terms.basis_points > 10_000 {
        let rate = terms.basis_points;
        return Err(StoreError::corrupt(format!("redis: a ceiling of {ceiling} at {rate} basis points")));
    }
    Ok(format!("k:{ceiling}:{}", terms.basis_points))
}

fn settled(reply: &Reply) -> Result<Settled, StoreError> {
    let mut words = reply.words();
    Ok(match reply.head() {
        "OK" => Settled::Done {
            charge: words.amount()?,
            uncollected: words.amount()?,
            balance: words.amount()?,
            version: words.number()?,
        },
        "DONE" => Settled::Already { kind: words.closed_by()?, charge: words.amount()? },
        "NOHOLD" => Settled::NoHold,
        "MISSING" => return Err(reply.not_loaded()),
        _ => return Err(reply.unexpected()),
    })
}

fn read_balance(words: &mut Words<'_>) -> Result<Balance, StoreError> {
    Ok(Balance {
        balance: words.amount()?,
        reserved: words.amount()?,
        granted: words.amount()?,
        credit_seq: words.number()?,
        debit_seq: words.number()?,
        frozen: words.text()? == "1",
    })
}

/// A cap as it is packed: limit, period, window, used, reserved.
pub(crate) fn read_cap(id: CapId, words: &mut Words<'_>) -> Result<CapUse, StoreError> {
    Ok(CapUse {
        id,
        limit: words.amount()?,
        period: read_period(words)?,
        window: words.number()?,
        used: words.amount()?,
        reserved: words.amount()?,
    })
}

fn read_period(words: &mut Words<'_>) -> Result<CapPeriod, StoreError> {
    let code = words.text()?;
    CapPeriod::from_code(code).ok_or_else(|| words.bad(code))
}

/// `id=d20777,id=n0`: caps with the windows in which a hold counts, or nothing.
pub(crate) fn read_windows(words: &mut Words<'_>) -> Result<Vec<CapWindow>, StoreError> {
    let mut windows = Vec::new();
    for pair in words.text()?.split(',').filter(|pair| !pair.is_empty()) {
        windows.push(read_window(pair).ok_or_else(|| words.bad(pair))?);
    }
    Ok(windows)
}

fn read_window(pair: &str) -> Option<CapWindow> {
    let (cap, window) = pair.rsplit_once('=')?;
    let (period, number) = window.split_at_checked(1)?;
    let (period, window) = (CapPeriod::from_code(period)?, number.parse().ok()?);
    Some(CapWindow { cap: CapId(cap.to_owned()), period, window })
}

/// The text that [`read_windows`] reads.
pub(crate) fn write_windows(windows: &[CapWindow]) -> String {
    let named =
        windows.iter().map(|named| format!("{}={}{}", named.cap.0, named.period.code(), named.window));
    named.collect::<Vec<String>>().join(",")
}
