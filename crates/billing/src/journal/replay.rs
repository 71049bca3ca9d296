//! What a journal leaves to be done: every hold is ended once, by the last that was written of it.
//!
//! A settlement stands as it was written. A hold that was only metered is settled at its last metering, for
//! good; it is never released, because a release would leave no trace of what its customer has had. A hold
//! that was never metered is given back.

use super::{Closing, Record};
use crate::engine::{Grant, HoldKey};
use std::collections::HashMap;

/// A hold that somebody must still end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfinished {
    /// Nothing was delivered for it.
    Release(Grant),
    /// Its settlement was written.
    Settle(Closing),
    /// Its process died in the middle: the last metering is its settlement, unless another one is booked.
    Crashed(Closing),
}

impl Unfinished {
    #[must_use]
    pub fn key(&self) -> HoldKey {
        match self {
            Self::Release(grant) => grant.key,
            Self::Settle(closing) | Self::Crashed(closing) => closing.key,
        }
    }
}

/// What is known of a hold so far.
#[derive(Debug)]
enum Last {
    Admitted(Grant),
    Metered(Closing),
    Settled(Closing),
    Released,
}

/// Reads records in the order in which they were written.
#[derive(Debug, Default)]
pub struct Replay {
    holds: HashMap<HoldKey, Last>,
}

impl Replay {
    /// Takes the next record. Nothing replaces a settlement, and a metering only grows.
    pub fn take(&mut self, record: Record) {
        let key = record.key();
        let before = self.holds.remove(&key);
        let now = match (before, record) {
            (Some(Last::Settled(first)), _) => Last::Settled(first),
            (_, Record::Settle(closing)) => Last::Settled(closing),
            (Some(Last::Metered(before)), Record::Meter(closing)) if closing.amount < before.amount => {
                Last::Metered(before)
            }
            (_, Record::Meter(closing)) => Last::Metered(closing),
            (Some(Last::Metered(before)), Record::Admit(_) | Record::Release(_)) => Last::Metered(before),
            (Some(Last::Released), Record::Admit(_)) | (_, Record::Release(_)) => Last::Released,
            (_, Record::Admit(grant)) => Last::Admitted(grant),
        };
        self.holds.insert(key, now);
    }

    /// What is left to be done, oldest generation first.
    #[must_use]
    pub fn unfinished(self) -> Vec<Unfinished> {
        let left = self.holds.into_values().filter_map(|last| match last {
            Last::Admitted(grant) => Some(Unfinished::Release(grant)),
            Last::Metered(closing) => Some(Unfinished::Crashed(closing)),
            Last::Settled(closing) => Some(Unfinished::Settle(closing)),
            Last::Released => None,
        });
        let mut left: Vec<Unfinished> = left.collect();
        left.sort_by_key(|unfinished| {
            let key = unfinished.key();
            (key.generation.uuid(), key.funding)
        });
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{AccountRef, CapId, CapPeriod, CapWindow, OwnKeyTerms, Ticket};
    use crate::generation::tests::record;
    use crate::journal::{Kind, write_grant, write_key};
    use kernel::NanoUsd;
    use kernel::ids::{AccountId, GenerationId};

    fn grant(number: u128, funding: u8) -> Grant {
        let generation = GenerationId::from_uuid(uuid::Uuid::from_u128(number));
        let account = AccountRef { account: AccountId::from_uuid(uuid::Uuid::from_u128(9)), shard: 7 };
        let windows = vec![
            CapWindow { cap: CapId("k:0f".to_owned()), period: CapPeriod::Daily, window: 20_777 },
            CapWindow { cap: CapId("o:11".to_owned()), period: CapPeriod::Total, window: 0 },
        ];
        Grant {
            key: HoldKey { generation, funding },
            account,
            amount: NanoUsd::new(5_000),
            available: NanoUsd::ZERO,
            ticket: Ticket::Paid,
            windows,
            own_key: Some(OwnKeyTerms { ceiling: NanoUsd::new(100_000), basis_points: 500 }),
            epoch: 3,
            version: 0,
        }
    }

    fn closing(number: u128, amount: i64) -> Closing {
        let record = record(GenerationId::from_uuid(uuid::Uuid::from_u128(number)));
        Closing::of(&grant(number, 1), NanoUsd::new(amount), NanoUsd::new(amount), &record)
    }

    #[test]
    fn what_was_written_is_read() {
        let mut admit = Vec::new();
        write_grant(&mut admit, &grant(1, 0));
        assert_eq!(Record::read(Kind::Admit, &admit), Some(Record::Admit(grant(1, 0))));
        let mut release = Vec::new();
        write_key(&mut release, &grant(1, 0).key);
        assert_eq!(Record::read(Kind::Release, &release), Some(Record::Release(grant(1, 0).key)));
        let settle = closing(1, 700);
        let read = Record::read(Kind::Settle, settle.bytes());
        assert_eq!(read, Some(Record::Settle(settle.clone())));
        assert_eq!(settle.grant(), Some(grant(1, 1)));
        assert!(settle.settlement().record.starts_with("{\"g\":"));
        for cut in 0..admit.len() {
            assert_eq!(Record::read(Kind::Admit, &admit[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn every_hold_ends_once_by_the_last_that_was_written_of_it() {
        let (admit, meter) = (|| Record::Admit(grant(1, 1)), |amount| Record::Meter(closing(1, amount)));
        let (settle, release) =
            (|amount| Record::Settle(closing(1, amount)), || Record::Release(grant(1, 1).key));
        let crashed = |amount| Some(Unfinished::Crashed(closing(1, amount)));
        let settled = |amount| Some(Unfinished::Settle(closing(1, amount)));
        let rows = [
            (vec![admit()], Some(Unfinished::Release(grant(1, 1)))),
            (vec![admit(), release()], None),
            (vec![release(), admit()], None),
            (vec![admit(), meter(10)], crashed(10)),
            (vec![admit(), meter(10), meter(30)], crashed(30)),
            (vec![admit(), meter(30), meter(10)], crashed(30)),
            // The ADMIT's segment is gone.
            (vec![meter(10)], crashed(10)),
            // What was metered is never released.
            (vec![admit(), meter(10), release()], crashed(10)),
            (vec![admit(), meter(10), settle(20)], settled(20)),
            (vec![admit(), settle(20), meter(30)], settled(20)),
            (vec![settle(20), settle(40)], settled(20)),
            (vec![admit(), settle(0)], settled(0)),
        ];
        for (records, expected) in rows {
            let mut replay = Replay::default();
            let shown = format!("{records:?}");
            records.into_iter().for_each(|record| replay.take(record));
            assert_eq!(replay.unfinished(), expected.into_iter().collect::<Vec<_>>(), "{shown}");
        }
    }

    #[test]
    fn two_holds_of_one_generation_end_each_by_itself() {
        let mut replay = Replay::default();
        for record in [
            Record::Admit(grant(1, 0)),
            Record::Release(grant(1, 0).key),
            Record::Admit(grant(1, 1)),
            Record::Settle(closing(1, 20)),
        ] {
            replay.take(record);
        }
        assert_eq!(replay.unfinished(), [Unfinished::Settle(closing(1, 20))]);
    }
}
