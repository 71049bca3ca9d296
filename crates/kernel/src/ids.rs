//! Typed ids: a UUIDv7 inside, a prefix and base62 outside, made from a passed clock and rng.

use crate::{Clock, Entropy, Moment};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A text is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0} id")]
pub struct IdError(pub &'static str);

/// Makes a UUIDv7: 48 bits of milliseconds, then 74 random bits.
pub fn new_uuid_v7(clock: &dyn Clock, rng: &dyn Entropy) -> Uuid {
    let mut random = [0; 10];
    rng.fill(&mut random);
    let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// 62^10: ten digits at a time come from 64 bits, because dividing 128 bits digit by digit costs a microsecond.
const TEN_DIGITS: u128 = 839_299_365_868_340_224;
/// Digits of an id: 128 bits in base62.
const DIGITS: usize = 22;

/// Writes `value` in base62, left-padded with zeros to `width` characters.
#[must_use]
pub fn base62(value: u128, width: usize) -> String {
    let digits = digits(value);
    let text = std::str::from_utf8(&digits).unwrap_or_default();
    let significant = text.trim_start_matches('0');
    if significant.len() >= width {
        return significant.to_owned();
    }
    // Most widths are those of ids, or of a part of one.
    match text.get(DIGITS.saturating_sub(width)..) {
        Some(padded) if width <= DIGITS => padded.to_owned(),
        _ => format!("{text:0>width$}"),
    }
}

fn digits(value: u128) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = value;
    for ten in digits.rchunks_mut(10) {
        let high = rest / TEN_DIGITS;
        let mut low = u64::try_from(rest - high * TEN_DIGITS).unwrap_or_default();
        rest = high;
        for digit in ten.iter_mut().rev() {
            let index = usize::try_from(low % 62).unwrap_or_default();
            *digit = BASE62.get(index).copied().unwrap_or(b'0');
            low /= 62;
        }
    }
    digits
}

/// The text of an id, on the stack: every record has a dozen of them.
struct Text {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl Text {
    /// `gen-`, twelve digits of seconds, a dash, twenty digits; every other id is shorter.
    const MOST: usize = 40;

    fn of(prefix: &str, uuid: Uuid) -> Self {
        let mut text = Self { bytes: [0; Self::MOST], len: 0 };
        text.push(prefix.as_bytes());
        text.push(&digits(uuid.as_u128()));
        text
    }

    fn of_generation(id: GenerationId) -> Self {
        let millis = id.unix_millis();
        let packed = (u128::from(millis % 1000) << RANDOM_BITS) | id.random74();
        let mut text = Self { bytes: [0; Self::MOST], len: 0 };
        text.push(b"gen-");
        text.push(crate::decimal::Digits::of(millis / 1000).as_str().as_bytes());
        text.push(b"-");
        // 84 bits: the first two of all digits are zeros.
        text.push(digits(packed).get(2..).unwrap_or_default());
        text
    }

    fn push(&mut self, part: &[u8]) {
        let end = self.len + part.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(part);
            self.len = end;
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }
}

/// Reads base62; `None` for foreign characters or more than 128 bits.
#[must_use]
pub fn parse_base62(text: &str) -> Option<u128> {
    let mut value: u128 = 0;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            b'a'..=b'z' => byte - b'a' + 36,
            _ => return None,
        };
        value = value.checked_mul(62)?.checked_add(u128::from(digit))?;
    }
    if text.is_empty() { None } else { Some(value) }
}

/// Declares an id type: `prefix` + 22 characters of base62 outside, a UUIDv7 inside.
macro_rules! declare_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn new(clock: &dyn Clock, rng: &dyn Entropy) -> Self {
                Self(new_uuid_v7(clock, rng))
            }

            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(Text::of(Self::PREFIX, self.0).as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix(Self::PREFIX).filter(|d| d.len() == 22);
                digits
                    .and_then(parse_base62)
                    .map(|value| Self(Uuid::from_u128(value)))
                    .ok_or(IdError(stringify!($name)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(Text::of(Self::PREFIX, self.0).as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

declare_id!(/// Money of a purchase on its way back to the card.
    RefundId, "ref_");
declare_id!(/// A payment that a cardholder disputed.
    DisputeId, "dsp_");
declare_id!(/// A paying organization.
    OrgId, "org_");
declare_id!(/// The credit account of an organization.
    AccountId, "acc_");
declare_id!(/// A person, across organizations.
    PersonId, "usr_");
declare_id!(/// A person in one organization.
    MemberId, "mem_");
declare_id!(/// A part of an organization with its own keys and budgets.
    WorkspaceId, "wsp_");
declare_id!(/// An API or management key.
    KeyId, "key_");
declare_id!(/// A customer's own key at a provider.
    ProviderKeyId, "byok_");
declare_id!(/// A model at a provider.
    EndpointId, "ep_");
declare_id!(/// One version of an endpoint's sale prices.
    TariffId, "tar_");
declare_id!(/// A purchase of credits.
    PurchaseId, "pur_");
declare_id!(/// A batch of catalog changes that staff may publish.
    DraftId, "dft_");
declare_id!(/// A member of staff.
    StaffId, "stf_");

/// An account and the ledger shard it lives in (fixed at sign-up, stored with the account).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AccountRef {
    pub account: AccountId,
    /// 0 … 63.
    pub shard: u8,
}

/// One completed call: the unit of billing. Outside `gen-<unix seconds>-<20 base62>`, lossless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(Uuid);

const RANDOM_BITS: u32 = 74;

impl GenerationId {
    pub fn new(clock: &dyn Clock, rng: &dyn Entropy) -> Self {
        Self(new_uuid_v7(clock, rng))
    }

    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Milliseconds since 1970 at which the id was made.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0.as_u128() >> 80).unwrap_or_default()
    }

    /// The moment at which the id was made; the day partition of its rows derives from it.
    #[must_use]
    pub fn created_at(self) -> Moment {
        let millis = i64::try_from(self.unix_millis()).unwrap_or(i64::MAX);
        Moment::from_timestamp_millis(millis).unwrap_or_default()
    }

    fn random74(self) -> u128 {
        let bits = self.0.as_u128();
        let high = (bits >> 64) & 0xfff;
        let low = bits & ((1 << 62) - 1);
        (high << 62) | low
    }
}

impl std::fmt::Display for GenerationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Text::of_generation(*self).as_str())
    }
}

impl std::str::FromStr for GenerationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const BAD: IdError = IdError("generation");
        let (seconds, digits) = text.strip_prefix("gen-").and_then(|rest| rest.split_once('-')).ok_or(BAD)?;
        let canonical = seconds.bytes().all(|b| b.is_ascii_digit()) && !seconds.starts_with('0');
        if digits.len() != 20 || !canonical {
            return Err(BAD);
        }
        let seconds: u64 = seconds.parse().map_err(|_not_a_number| BAD)?;
        let packed = parse_base62(digits).ok_or(BAD)?;
        let millis_part = u64::try_from(packed >> RANDOM_BITS).map_err(|_too_large| BAD)?;
        let millis = seconds.checked_mul(1000).and_then(|s| s.checked_add(millis_part)).ok_or(BAD)?;
        if millis_part > 999 || millis >= 1 << 48 {
            return Err(BAD);
        }
        let random = packed & ((1 << RANDOM_BITS) - 1);
        let bits = (u128::from(millis) << 80)
            | (7 << 76)
            | ((random >> 62) << 64)
            | (2 << 62)
            | (random & ((1 << 62) - 1));
        Ok(Self(Uuid::from_u128(bits)))
    }
}

impl Serialize for GenerationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Text::of_generation(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for GenerationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::rng::SeededEntropy;

    #[test]
    fn a_generation_id_survives_the_trip_through_its_text() {
        let rng = SeededEntropy::new(7);
        for millis in [1_786_465_029_123, 1_786_465_029_999, 1_000_000_000_000] {
            let clock = FixedClock::at(Moment::from_timestamp_millis(millis).unwrap());
            for _ in 0..500 {
                let id = GenerationId::new(&clock, &rng);
                let text = id.to_string();
                assert_eq!(text.parse::<GenerationId>(), Ok(id), "{text}");
                assert_eq!(id.created_at().timestamp_millis(), millis);
                assert_eq!(id.uuid().get_version_num(), 7);
            }
        }
    }

    #[test]
    fn base62_is_that_of_the_schoolbook_at_every_width() {
        fn schoolbook(mut value: u128, width: usize) -> String {
            let mut digits = Vec::new();
            while value > 0 || digits.len() < width {
                digits.push(char::from(BASE62[usize::try_from(value % 62).unwrap()]));
                value /= 62;
            }
            digits.into_iter().rev().collect()
        }
        let edges = [0, 1, 61, 62, TEN_DIGITS - 1, TEN_DIGITS, TEN_DIGITS * TEN_DIGITS, u128::MAX];
        let spread = (0..128).map(|bit| (1_u128 << bit) | 0x5A5A_1234);
        for value in edges.into_iter().chain(spread) {
            for width in [0, 1, 6, 11, 20, 21, 22, 25] {
                assert_eq!(base62(value, width), schoolbook(value, width), "{value} {width}");
            }
            let id = OrgId::from_uuid(Uuid::from_u128(value));
            assert_eq!(id.to_string(), format!("org_{}", schoolbook(value, 22)));
        }
    }

    #[test]
    fn foreign_texts_are_not_ids() {
        for text in [
            "",
            "gen-",
            "gen-1-2",
            "gen-1786465029-zzzzzzzzzzzzzzzzzzzz",
            "gen-01-00000000000000000000",
            "org_x",
        ] {
            assert!(text.parse::<GenerationId>().is_err(), "{text}");
        }
        assert!("org_0".parse::<OrgId>().is_err());
        let id = OrgId::from_uuid(Uuid::from_u128(u128::MAX));
        assert_eq!(id.to_string().parse::<OrgId>(), Ok(id));
        assert!(id.to_string().replace("org_", "key_").parse::<OrgId>().is_err());
    }
}
