//! Asks the payment provider about open purchases, refunds left half-way and undecided disputes: what a lost
//! webhook did not tell. And tells the engine whom to freeze.

use crate::jobs::ingest::Ingest;
use crate::wiring::House;
use billing::desk::{DeskError, Progress};
use billing::engine::EngineUpkeep as _;
use billing::ledger::DisputeLedger as _;
use kernel::{AccountRef, StoreError};

const AT_ONCE: u32 = 50;

/// One round.
pub(crate) async fn poll(house: &House) {
    let desk = house.money_desk(&house.engine);
    match desk.purchases.poll_open(AT_ONCE).await {
        Ok(polled) => {
            for (account, seq) in polled.granted {
                tell(house, account, seq).await;
            }
        }
        Err(error) => tracing::warn!(%error, "open purchases could not be checked"),
    }
    if let Err(error) = desk.refunds.resume(AT_ONCE).await {
        tracing::warn!(%error, "refunds could not be carried on");
    }
    disputes(house, desk.disputes.poll(AT_ONCE).await).await;
}

/// Looks for disputes that no message told of.
pub(crate) async fn sweep_disputes(house: &House) {
    disputes(house, house.money_desk(&house.engine).disputes.sweep().await).await;
}

async fn disputes(house: &House, seen: Result<Vec<Progress>, DeskError>) {
    match seen {
        Ok(seen) => {
            for progress in seen {
                if let Progress::Booked(booked) = progress {
                    tell(house, booked.account, booked.seq).await;
                }
            }
        }
        Err(error) => tracing::warn!(%error, "disputes could not be checked"),
    }
}

async fn tell(house: &House, account: AccountRef, seq: i64) {
    if let Err(error) = house.credits(&house.engine).send_credits(account, seq - 1).await {
        tracing::warn!(%error, "a credit is sent to the engine later");
    }
}

/// Tells the engine who is frozen and who is free again; only in the process with the lease, so that an old
/// word does not overtake a new one.
pub(crate) async fn freeze(house: &House, writer: &Ingest) {
    if let Err(error) = freeze_all(house, writer).await {
        tracing::warn!(%error, "the engine could not be told whom to freeze");
    }
}

async fn freeze_all(house: &House, writer: &Ingest) -> Result<(), StoreError> {
    let waiting = house.store.freezes_to_send(AT_ONCE).await?;
    if waiting.is_empty() || !writer.has_lease(house).await? {
        return Ok(());
    }
    for (account, frozen) in waiting {
        // Loaded first: a load that began before the dispute would bring the old word after ours.
        house.credits(&house.engine).balance(account).await?;
        house.engine.freeze(account, frozen).await?;
        house.store.freeze_sent(account, frozen).await?;
    }
    Ok(())
}
