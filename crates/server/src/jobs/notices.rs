//! Listens to PostgreSQL's notices: keys, caps, credits and catalog versions reach this process within a second.

use crate::jobs::catalog;
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

/// Acts on notices until the process stops. While the connection is down nothing remembered is trusted long.
pub(crate) async fn listen(house: House, stop: CancellationToken) {
    let mut stream = notices(house.config.database_url.expose_secret());
    loop {
        let notice = tokio::select! {
            () = stop.cancelled() => return,
            notice = stream.next() => notice,
        };
        match notice {
            Ok(notice) => act(&house, notice).await,
            Err(error) => {
                house.keys.set_listening(false);
                tracing::warn!(%error, "notices are not arriving");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn act(house: &House, notice: Notice) {
    let acted = match notice {
        Notice::Resync => {
            house.keys.clear();
            house.keys.set_listening(true);
            catalog::reload(house).await
        }
        Notice::Catalog(_) => catalog::reload(house).await,
        Notice::Key(digest) => {
            house.keys.evict(&digest);
            Ok(())
        }
        Notice::AllKeys => {
            house.keys.clear();
            Ok(())
        }
        Notice::Cap { account, cap } => tell_cap(house, account, CapId(cap)).await,
        Notice::Credits(account) => tell_credits(house, account).await,
    };
    if let Err(error) = acted {
        tracing::warn!(%error, "a notice could not be acted on; the next round mends it");
    }
}

async fn tell_cap(house: &House, account: AccountId, id: CapId) -> Result<(), StoreError> {
    let Some(cap) = house.store.cap(account, &id, house.clock.now()).await? else { return Ok(()) };
    let Some(state) = house.store.account_state(account, house.clock.now()).await? else { return Ok(()) };
    house.engine.set_cap(state.account, &cap).await
}

async fn tell_credits(house: &House, account: AccountId) -> Result<(), StoreError> {
    let Some(state) = house.store.account_state(account, house.clock.now()).await? else { return Ok(()) };
    let credits = house.credits(&house.engine);
    // The engine says where it stands; without the account the next load brings everything.
    let balance = credits.balance(state.account).await?;
    credits.send_credits(state.account, balance.credit_seq).await
}
