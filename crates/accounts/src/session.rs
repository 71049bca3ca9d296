//! Browser sessions: an opaque random token in a cookie, its SHA-256 in the store. Revocable at once.

use kernel::Entropy;
use kernel::ids::base62;
use sha2::{Digest as _, Sha256};

/// How long a session lives without use.
pub const IDLE_DAYS: i64 = 14;

/// The secret of a session or a CSRF token: 256 bits in base62.
#[derive(Clone)]
pub struct SessionToken(String);

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl SessionToken {
    pub fn draw(rng: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        let (high, low) = bytes.split_at(16);
        let part =
            |half: &[u8]| base62(half.iter().fold(0, |value, byte| (value << 8) | u128::from(*byte)), 22);
        Self(format!("{}{}", part(high), part(low)))
    }

    /// Takes a cookie's value; only its shape is checked.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed = text.len() == 44 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        well_formed.then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The CSRF token of the forms of a session: derived, so it needs no store.
    #[must_use]
    pub fn csrf(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(format!("csrf:{}", self.0).as_bytes()).into();
        base62(digest.iter().take(16).fold(0, |value, byte| (value << 8) | u128::from(*byte)), 22)
    }

    /// Compares a form's CSRF token in constant time.
    #[must_use]
    pub fn csrf_matches(&self, given: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.csrf().as_bytes(), given.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_session_token_survives_its_cookie_and_guards_its_forms() {
        let rng = SeededEntropy::new(4);
        let token = SessionToken::draw(&rng);
        let other = SessionToken::draw(&rng);
        let back = SessionToken::parse(token.reveal()).unwrap();
        assert_eq!(back.digest(), token.digest());
        assert!(back.csrf_matches(&token.csrf()));
        assert!(!back.csrf_matches(&other.csrf()));
        assert!(!back.csrf_matches(""));
        assert!(SessionToken::parse("short").is_none());
        assert!(SessionToken::parse(&"é".repeat(22)).is_none());
    }
}
