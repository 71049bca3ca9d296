//! Listens to PostgreSQL's notices: keys, caps, credits and catalog versions reach this process within a second.

use crate::jobs::{catalog, epochs};
use crate::wiring::House;
use billing::CapId;
use billing::engine::EngineUpkeep as _;
use billing::ledger::Ledger as _;
use kernel::ids::AccountId;
use kernel::{ExposeSecret as _, StoreError};
use std::time::Duration;
use store_postgres::{Notice, notices};
use tokio_util::sync::CancellationToken;

/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(500);

/// Notices that wait for their work; beyond that a round of the jobs mends what was missed.
const WAITING: usize = 1024;

/// Acts on notices until the process stops. Keys are evicted at once; whatever asks a store is done beside,
/// so that a revocation never waits for it. While the connection is down nothing remembered is trusted long.
pub(crate) async fn listen(house: House, stop: CancellationToken) {
    let (work, mut inbox) = tokio::sync::mpsc::channel(WAITING);
    let listening = hear(&house, &stop, work);
    let working = async {
        while let Some(notice) = inbox.recv().await {
            act(&house, notice).await;
        }
    };
    tokio::join!(listening, working);
}

async fn hear(house: &House, stop: &CancellationToken, work: tokio::sync::mpsc::Sender<Notice>) {
    let mut stream = notices(house.config.database_url.expose_secret());
    loop {
        let notice = tokio::select! {
            () = stop.cancelled() => return,
            notice = stream.next() => notice,
        };
        match notice {
            Ok(notice) => {
                evict(house, &notice);
                if work.try_send(notice).is_err() {
                    tracing::warn!("too many notices at once; the next round mends it");
                }
            }
            Err(error) => {
                house.keys.set_listening(false);
                tracing::warn!(%error, "notices are not arriving");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// What a notice makes untrue of the remembered keys. Asks no store.
fn evict(house: &House, notice: &Notice) {
    match notice {
        Notice::Resync => {
            house.keys.doubt();
            house.keys.set_listening(true);
        }
        Notice::Key(digest) => house.keys.evict(digest),
        Notice::AllKeys => house.keys.doubt(),
        Notice::Catalog(_) | Notice::Cap { .. } | Notice::Credits(_) | Notice::Epochs => {}
    }
}

async fn act(house: &House, notice: Notice) {
    let acted = match notice {
        Notice::Resync | Notice::Catalog(_) => catalog::reload(house).await,
        Notice::Key(_) | Notice::AllKeys => Ok(()),
        Notice::Cap { account, cap } => tell_cap(house, account, CapId(cap)).await,
        Notice::Credits(account) => tell_credits(house, account).await,
        Notice::Epochs => epochs::refresh(house).await,
    };
    if let Err(error) = acted {
        tracing::warn!(%error, "a notice could not be acted on; the next round mends it");
    }
}

async fn tell_cap(house: &House, account: AccountId, id: CapId) -> Result<(), StoreError> {
    let Some(cap) = house.store.cap(account, &id, house.clock.now()).await? else { return Ok(()) };
    let Some(state) = house.store.account_state(account, &[], house.clock.now()).await? else {
        return Ok(());
    };
    house.engine.set_cap(state.account, &cap).await?;
    Ok(())
}

async fn tell_credits(house: &House, account: AccountId) -> Result<(), StoreError> {
    let Some(state) = house.store.account_state(account, &[], house.clock.now()).await? else {
        return Ok(());
    };
    let credits = house.credits(&house.engine);
    // The engine says where it stands; without the account the next load brings everything.
    let balance = credits.balance(state.account).await?;
    credits.send_credits(state.account, balance.credit_seq).await
}
