//! Asks the payment provider about open purchases: credits what a lost webhook did not.

use crate::wiring::House;

const AT_ONCE: u32 = 50;

/// One round.
pub(crate) async fn poll(house: &House) {
    match house.desk.poll_open(AT_ONCE).await {
        Ok(polled) => {
            let credits = house.credits(&house.engine);
            for (account, seq) in polled.granted {
                if let Err(error) = credits.send_credits(account, seq - 1).await {
                    tracing::warn!(%error, "a credit is sent to the engine later");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "open purchases could not be checked"),
    }
}
