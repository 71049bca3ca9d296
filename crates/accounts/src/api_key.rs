//! API keys: their text, their stored digest, and what a request learns about its key.
//!
//! The text is `sk-fb-v1-` (or `sk-fb-mgmt-v1-`) + 43 base62 characters (256 bits) + 6 base62 characters of
//! CRC-32 over everything before. The check sum refuses typing errors before any look-up. Stored is only
//! HMAC-SHA256 under a versioned pepper.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kernel::ids::{KeyId, MemberId, OrgId, WorkspaceId, base62, parse_base62};
use kernel::{AccountRef, Entropy, Moment, NanoUsd};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Calls models.
    Model,
    /// Manages keys; never calls models.
    Management,
}

impl KeyKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Model => "sk-fb-v1-",
            Self::Management => "sk-fb-mgmt-v1-",
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Management => "management",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Model, Self::Management].into_iter().find(|kind| kind.as_str() == text)
    }
}

const SECRET_DIGITS: usize = 43;
const CHECK_DIGITS: usize = 6;

/// A key's full text. Shown once, never stored, never logged.
#[derive(Clone)]
pub struct KeySecret {
    kind: KeyKind,
    text: String,
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySecret({:?}, …)", self.kind)
    }
}

/// Why a text is not one of our keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySyntaxError {
    #[error("an API key starts with sk-fb-v1-")]
    Prefix,
    #[error("the API key is not complete: check that all of it was copied")]
    Length,
    #[error("the API key has a typing error: its check sum does not fit")]
    CheckSum,
}

impl KeySecret {
    /// Draws a new key.
    pub fn draw(kind: KeyKind, rng: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        Self::from_bytes(kind, &bytes)
    }

    /// The key of 256 random bits.
    pub(crate) fn from_bytes(kind: KeyKind, bytes: &[u8; 32]) -> Self {
        let (high, low) = bytes.split_at(16);
        let number = |half: &[u8]| half.iter().fold(0, |value, byte| (value << 8) | u128::from(*byte));
        // Two halves of 128 bits, 22 and 21 digits: the second is cut to 125 bits so that 21 digits hold it.
        let first = base62(number(high), 22);
        let second = base62(number(low) >> 3, 21);
        let body = format!("{}{first}{second}", kind.prefix());
        let check = check_digits(&body);
        Self { kind, text: format!("{body}{check}") }
    }

    /// Checks prefix, length and check sum. Asks no store.
    pub fn parse(text: &str) -> Result<Self, KeySyntaxError> {
        let kind = [KeyKind::Management, KeyKind::Model]
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
            .ok_or(KeySyntaxError::Prefix)?;
        if text.len() != kind.prefix().len() + SECRET_DIGITS + CHECK_DIGITS || !text.is_ascii() {
            return Err(KeySyntaxError::Length);
        }
        let (body, check) = text.split_at(text.len() - CHECK_DIGITS);
        let digits_ok = parse_base62(check).is_some();
        if !digits_ok || check_digits(body) != check {
            return Err(KeySyntaxError::CheckSum);
        }
        Ok(Self { kind, text: text.to_owned() })
    }

    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The whole text: for the one page or answer that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// `sk-fb-v1-abc…xyz`: what lists show.
    #[must_use]
    pub fn label(&self) -> String {
        let start: String = self.text.chars().take(self.kind.prefix().len() + 3).collect();
        let end: String = self.text.chars().skip(self.text.len() - 3).collect();
        format!("{start}...{end}")
    }
}

fn check_digits(body: &str) -> String {
    base62(u128::from(crc32fast::hash(body.as_bytes())), CHECK_DIGITS)
}

/// A secret mixed into every key digest, with the version that is stored beside the digest.
#[derive(Clone)]
pub struct Pepper {
    version: i16,
    /// With the secret mixed in already, which is half of the work of a digest.
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pepper(v{})", self.version)
    }
}

impl Pepper {
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub fn new(version: i16, secret: [u8; 32]) -> Self {
        let keyed = Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length");
        Self { version, keyed }
    }

    /// What is stored of a key.
    #[must_use]
    pub fn digest(&self, key: &KeySecret) -> KeyDigest {
        KeyDigest { pepper_version: self.version, bytes: self.mix(&key.text) }
    }

    /// HMAC-SHA256 of a text; texts of other purposes begin otherwise than a key.
    pub(crate) fn mix(&self, text: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// HMAC-SHA256 of a key under a pepper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest {
    pub pepper_version: i16,
    pub bytes: [u8; 32],
}

/// What a request learns about its key. `disabled` and `expires_at` are checked by the caller with its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub id: KeyId,
    /// 64 hex characters drawn at creation: the key's public handle, not derived from the secret.
    pub hash: String,
    pub kind: KeyKind,
    pub org: OrgId,
    pub account: AccountRef,
    pub workspace: WorkspaceId,
    /// The member who made it: spending is attributed to them.
    pub creator: MemberId,
    pub name: String,
    pub label: String,
    /// Spending limit in the period; `None` has no cap of its own.
    pub limit: Option<NanoUsd>,
    pub limit_reset: LimitReset,
    /// The list price of own-key calls counts against the limit.
    pub include_byok_in_limit: bool,
    pub disabled: bool,
    pub expires_at: Option<Moment>,
    pub created_at: Moment,
    pub updated_at: Option<Moment>,
    /// Other caps that apply: member, workspace, organization.
    #[serde(default)]
    pub caps: Vec<String>,
}

/// When a key's limit starts anew, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitReset {
    /// Never: a total.
    None,
    Daily,
    Weekly,
    Monthly,
}

impl LimitReset {
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Daily => Some("daily"),
            Self::Weekly => Some("weekly"),
            Self::Monthly => Some("monthly"),
        }
    }

    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Self::None),
            Some("daily") => Some(Self::Daily),
            Some("weekly") => Some(Self::Weekly),
            Some("monthly") => Some(Self::Monthly),
            Some(_) => None,
        }
    }
}

/// Why a known key may not act now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    Disabled,
    Expired,
    /// A management key was used to call a model, or the other way round.
    WrongKind,
}

impl KeyRecord {
    /// Whether the key may act as `kind` at `now`.
    pub fn check(&self, kind: KeyKind, now: Moment) -> Result<(), KeyRefusal> {
        if self.disabled {
            return Err(KeyRefusal::Disabled);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(KeyRefusal::Expired);
        }
        if self.kind != kind { Err(KeyRefusal::WrongKind) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_drawn_key_is_read_back_and_any_changed_character_is_refused() {
        let rng = SeededEntropy::new(1);
        for kind in [KeyKind::Model, KeyKind::Management] {
            let key = KeySecret::draw(kind, &rng);
            assert_eq!(KeySecret::parse(key.reveal()).unwrap().kind(), kind);
            for position in 0..key.reveal().len() {
                let mut changed: Vec<char> = key.reveal().chars().collect();
                changed[position] = if changed[position] == 'A' { 'B' } else { 'A' };
                let changed: String = changed.into_iter().collect();
                assert!(KeySecret::parse(&changed).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn foreign_texts_say_what_is_wrong() {
        let key = KeySecret::draw(KeyKind::Model, &SeededEntropy::new(2));
        let short: String = key.reveal().chars().take(30).collect();
        let rows = [
            ("", KeySyntaxError::Prefix),
            ("sk-or-v1-abc", KeySyntaxError::Prefix),
            (short.as_str(), KeySyntaxError::Length),
            ("sk-fb-v1-ééééééééééééééééééééééééé", KeySyntaxError::Length),
        ];
        for (text, expected) in rows {
            assert_eq!(KeySecret::parse(text).err(), Some(expected), "{text}");
        }
        assert_eq!(KeySecret::parse(&format!("{} ", key.reveal())).err(), Some(KeySyntaxError::Length));
    }

    #[test]
    fn digests_differ_by_key_and_by_pepper() {
        let rng = SeededEntropy::new(3);
        let (a, b) = (KeySecret::draw(KeyKind::Model, &rng), KeySecret::draw(KeyKind::Model, &rng));
        let (one, two) = (Pepper::new(1, [1; 32]), Pepper::new(2, [2; 32]));
        assert_eq!(one.digest(&a), one.digest(&a));
        assert_ne!(one.digest(&a).bytes, one.digest(&b).bytes);
        assert_ne!(one.digest(&a).bytes, two.digest(&a).bytes);
        assert!(!format!("{a:?}").contains(a.reveal()));
    }
}
