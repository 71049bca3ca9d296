//! The proof of the books: what is checked, and the report that a person reads.
//!
//! The checks themselves are queries of the stores; here are their names, their sentences and the verdict.

use async_trait::async_trait;
use kernel::StoreError;

/// One invariant's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `I1` … `I22`, stable.
    pub id: &'static str,
    /// What must hold, as a sentence.
    pub rule: &'static str,
    /// Rows looked at.
    pub checked: u64,
    /// Up to ten breaches, each naming the row and the two figures; empty is good.
    pub breaches: Vec<String>,
    /// Breaches in all.
    pub breach_count: u64,
}

impl Finding {
    #[must_use]
    pub fn new(id: &'static str, rule: &'static str, checked: u64, breaches: Vec<String>) -> Self {
        let breach_count = u64::try_from(breaches.len()).unwrap_or(u64::MAX);
        Self { id, rule, checked, breaches: breaches.into_iter().take(10).collect(), breach_count }
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.breach_count == 0
    }
}

/// The invariants that PostgreSQL alone can prove.
#[async_trait]
pub trait LedgerAudit: Send + Sync {
    async fn check(&self) -> Result<Vec<Finding>, StoreError>;

    /// Posted balance, sequences and epoch of every account of a shard, to compare with the engine.
    async fn accounts(&self, shard: u8) -> Result<Vec<PostedAccount>, StoreError>;
}

/// An account of the ledger for the proof of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedAccount {
    pub account: kernel::ids::AccountId,
    pub posted: kernel::NanoUsd,
    pub credit_seq: i64,
    pub debit_seq: i64,
    pub caps: Vec<crate::engine::Cap>,
}

/// How an account of the engine stands to the ledger's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Both are at the same sequences and agree.
    Agrees,
    /// Entries are on their way; nothing can be said now.
    InMotion,
    /// Both are at the same sequences and differ: which rule, and both figures.
    Differs { rule: EngineRule, detail: String },
}

/// The invariants that need both stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineRule {
    /// I4
    Balance,
    /// I5
    Reserved,
    /// I10
    Caps,
}

impl EngineRule {
    pub const ALL: [Self; 3] = [Self::Balance, Self::Reserved, Self::Caps];

    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Balance => "I4",
            Self::Reserved => "I5",
            Self::Caps => "I10",
        }
    }

    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Balance => "the engine's balance equals the posted one at equal sequences",
            Self::Reserved => "reserved money equals the sum of open holds",
            Self::Caps => "a cap's use in the engine equals the ledger's in the same window",
        }
    }
}

/// Compares one account. `posted` must have been read before `engine`.
#[must_use]
pub fn compare(posted: &PostedAccount, engine: &crate::engine::AuditedAccount) -> Vec<Comparison> {
    let mut found = Vec::new();
    let mut differs = |rule, detail| found.push(Comparison::Differs { rule, detail });
    let account = posted.account;
    if engine.held != engine.balance.reserved {
        let (reserved, held) = (engine.balance.reserved.get(), engine.held.get());
        differs(EngineRule::Reserved, format!("{account}: reserved {reserved}, holds {held}"));
    }
    if posted.credit_seq != engine.balance.credit_seq || posted.debit_seq != engine.balance.debit_seq {
        found.push(Comparison::InMotion);
        return found;
    }
    if posted.posted != engine.balance.balance {
        let (ledger, redis) = (posted.posted.get(), engine.balance.balance.get());
        differs(EngineRule::Balance, format!("{account}: posted {ledger}, engine {redis}"));
    }
    for cap in &engine.caps {
        let booked = posted.caps.iter().find(|c| c.id == cap.id && c.window == cap.window);
        let used = booked.map_or(kernel::NanoUsd::ZERO, |c| c.used);
        if used != cap.used {
            let detail = format!("{account} {}: booked {}, engine {}", cap.id.0, used.get(), cap.used.get());
            differs(EngineRule::Caps, detail);
        }
    }
    if found.is_empty() {
        found.push(Comparison::Agrees);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{AuditedAccount, Balance, Cap, CapId, CapPeriod, CapUse};
    use kernel::NanoUsd;
    use kernel::ids::AccountId;

    fn posted() -> PostedAccount {
        let account = AccountId::from_uuid(Default::default());
        let cap = Cap {
            id: CapId("k:1".to_owned()),
            limit: NanoUsd::new(100),
            period: CapPeriod::Daily,
            window: 7,
            used: NanoUsd::new(5),
        };
        PostedAccount { account, posted: NanoUsd::new(10), credit_seq: 1, debit_seq: 2, caps: vec![cap] }
    }

    fn engine() -> AuditedAccount {
        let balance = Balance {
            balance: NanoUsd::new(10),
            reserved: NanoUsd::new(3),
            granted: NanoUsd::new(15),
            credit_seq: 1,
            debit_seq: 2,
            frozen: false,
        };
        let cap = CapUse {
            id: CapId("k:1".to_owned()),
            limit: NanoUsd::new(100),
            period: CapPeriod::Daily,
            window: 7,
            used: NanoUsd::new(5),
            reserved: NanoUsd::new(3),
        };
        AuditedAccount {
            account: posted().account,
            balance,
            held: NanoUsd::new(3),
            caps: vec![cap],
            epoch: 1,
        }
    }

    fn rules(engine: &AuditedAccount) -> Vec<Option<EngineRule>> {
        let rule = |comparison: &Comparison| match comparison {
            Comparison::Differs { rule, .. } => Some(*rule),
            Comparison::Agrees | Comparison::InMotion => None,
        };
        compare(&posted(), engine).iter().map(rule).collect()
    }

    #[test]
    fn each_planted_difference_is_found_by_its_rule() {
        assert_eq!(compare(&posted(), &engine()), [Comparison::Agrees]);
        let mut changed = engine();
        changed.balance.balance = NanoUsd::new(11);
        assert_eq!(rules(&changed), [Some(EngineRule::Balance)]);
        let mut changed = engine();
        changed.held = NanoUsd::new(2);
        assert_eq!(rules(&changed), [Some(EngineRule::Reserved)]);
        let mut changed = engine();
        changed.caps[0].used = NanoUsd::new(6);
        assert_eq!(rules(&changed), [Some(EngineRule::Caps)]);
        let mut changed = engine();
        changed.balance.debit_seq = 3;
        changed.balance.balance = NanoUsd::new(9);
        assert_eq!(compare(&posted(), &changed), [Comparison::InMotion]);
    }
}
