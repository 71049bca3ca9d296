//! Notices from other processes: keys, limits, credits and prices that have changed.
//!
//! PostgreSQL delivers a notice with the commit of what it tells. Nobody may rely on it alone: a lost
//! connection loses notices, which is why a reconnect is a notice itself.

use crate::error::Named as _;
use kernel::StoreError;
use kernel::ids::AccountId;
use sqlx::postgres::PgListener;

const CHANNELS: [&str; 5] =
    ["farebox_catalog", "farebox_keys", "farebox_caps", "farebox_credits", "farebox_epochs"];

/// Something that other processes remember has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The connection was (re)opened: whatever was remembered before may be stale.
    Resync,
    /// A catalog version was published.
    Catalog(i64),
    /// The key with this digest changed, appeared or was deleted.
    Key([u8; 32]),
    /// Any key may have changed.
    AllKeys,
    /// A spending limit was set, changed or removed.
    Cap { account: AccountId, cap: String },
    /// The account has a credit that the engine must learn.
    Credits(AccountId),
    /// Shards were sealed, or serve in a new epoch.
    Epochs,
}

/// A subscription to all notices. It has no task of its own: it works while `next` is awaited.
pub struct Notices {
    url: String,
    listener: Option<PgListener>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notices").field("connected", &self.listener.is_some()).finish_non_exhaustive()
    }
}

/// Subscribes on a connection of its own. The first notice is [`Notice::Resync`].
#[must_use]
pub fn notices(url: &str) -> Notices {
    Notices { url: url.to_owned(), listener: None }
}

impl Notices {
    /// Waits for the next notice. Dropping the future in between loses nothing.
    ///
    /// # Errors
    /// `Unavailable` when there is no connection; wait a little and call again.
    pub async fn next(&mut self) -> Result<Notice, StoreError> {
        loop {
            let Some(listener) = self.listener.as_mut() else {
                self.listener = Some(open(&self.url).await?);
                return Ok(Notice::Resync);
            };
            match listener.try_recv().await {
                Ok(Some(message)) => match parse(message.channel(), message.payload()) {
                    Some(notice) => return Ok(notice),
                    None => tracing::warn!(channel = message.channel(), "a notice that cannot be read"),
                },
                Ok(None) => self.listener = None,
                Err(error) => {
                    self.listener = None;
                    return Err(error).named("notices");
                }
            }
        }
    }
}

async fn open(url: &str) -> Result<PgListener, StoreError> {
    let mut listener = PgListener::connect(url).await.named("notices: connect")?;
    listener.eager_reconnect(false);
    listener.listen_all(CHANNELS).await.named("notices: listen")?;
    Ok(listener)
}

fn parse(channel: &str, payload: &str) -> Option<Notice> {
    match channel {
        "farebox_catalog" => payload.parse().ok().map(Notice::Catalog),
        "farebox_keys" if payload == "all" => Some(Notice::AllKeys),
        "farebox_keys" => parse_digest(payload).map(Notice::Key),
        "farebox_caps" => {
            let (account, cap) = payload.split_once(':')?;
            Some(Notice::Cap { account: account.parse().ok()?, cap: cap.to_owned() })
        }
        "farebox_credits" => payload.parse().ok().map(Notice::Credits),
        "farebox_epochs" => Some(Notice::Epochs),
        _ => None,
    }
}

/// 64 hex digits.
fn parse_digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// How a digest is written in a notice.
pub(crate) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_read_back_and_nonsense_is_not() {
        let account = AccountId::from_uuid(uuid::Uuid::from_u128(7));
        let digest = [0xab; 32];
        let rows = [
            ("farebox_catalog", "12".to_owned(), Some(Notice::Catalog(12))),
            ("farebox_catalog", "x".to_owned(), None),
            ("farebox_keys", "all".to_owned(), Some(Notice::AllKeys)),
            ("farebox_keys", hex(&digest), Some(Notice::Key(digest))),
            ("farebox_keys", "ab".to_owned(), None),
            (
                "farebox_caps",
                format!("{account}:k:key_1"),
                Some(Notice::Cap { account, cap: "k:key_1".into() }),
            ),
            ("farebox_credits", account.to_string(), Some(Notice::Credits(account))),
            ("farebox_epochs", String::new(), Some(Notice::Epochs)),
            ("other", String::new(), None),
        ];
        for (channel, payload, expected) in rows {
            assert_eq!(parse(channel, &payload), expected, "{channel} {payload}");
        }
    }
}
