//! Passwords: argon2id with its parameters in the stored text. CPU-heavy: call it off the async threads.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use kernel::{Entropy, ExposeSecret as _, SecretString};

/// A password that is too weak or too long, with the sentence to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("use at least 10 characters")]
    TooShort,
    #[error("use at most 200 characters")]
    TooLong,
    #[error("this password is among the first that attackers try: choose another")]
    Common,
    #[error("the password could not be hashed")]
    Hash,
}

/// How hard hashing is. Production uses [`Cost::STANDARD`] (OWASP: 19 MiB, 2 passes); tests the least.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Cost {
    pub const STANDARD: Self = Self { memory_kib: 19 * 1024, passes: 2 };
    pub const LEAST: Self = Self { memory_kib: 8, passes: 1 };
}

const COMMON: [&str; 12] = [
    "1234567890",
    "12345678910",
    "0123456789",
    "password123",
    "password1234",
    "qwertyuiop",
    "qwerty12345",
    "iloveyou123",
    "administrator",
    "letmein1234",
    "passwordpassword",
    "1q2w3e4r5t",
];

/// Refuses passwords that are too short, too long or well known.
pub fn check(password: &SecretString) -> Result<(), PasswordError> {
    let text = password.expose_secret();
    match text.chars().count() {
        0..10 => Err(PasswordError::TooShort),
        201.. => Err(PasswordError::TooLong),
        _ if COMMON.contains(&text.to_lowercase().as_str()) => Err(PasswordError::Common),
        _ if text.chars().all(|c| text.starts_with(c)) => Err(PasswordError::Common),
        _ => Ok(()),
    }
}

/// Hashes a password with a fresh salt.
pub fn hash(password: &SecretString, cost: Cost, rng: &dyn Entropy) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    rng.fill(&mut salt);
    let hash = hasher(cost)?.hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
    Ok(hash.map_err(|_malformed| PasswordError::Hash)?.to_string())
}

/// Compares a password with a stored hash in constant time. A malformed hash matches nothing.
#[must_use]
pub fn verify(password: &SecretString, stored: &str) -> bool {
    PasswordHash::new(stored).is_ok_and(|hash| {
        Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
    })
}

/// Spends the time of a verification when there is no such person, so that both answers take as long.
pub fn verify_nothing(password: &SecretString, cost: Cost, rng: &dyn Entropy) {
    let _spent = hash(password, cost, rng);
}

fn hasher(cost: Cost) -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(cost.memory_kib, cost.passes, 1, None).map_err(|_malformed| PasswordError::Hash)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let rng = SeededEntropy::new(1);
        let right = SecretString::from("correct horse battery");
        let stored = hash(&right, Cost::LEAST, &rng).unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify(&right, &stored));
        assert!(!verify(&SecretString::from("correct horse batterz"), &stored));
        assert!(!verify(&right, "not a hash"));
        assert_ne!(stored, hash(&right, Cost::LEAST, &rng).unwrap());
    }

    #[test]
    fn weak_passwords_are_refused_with_the_reason() {
        let rows = [
            ("short", Err(PasswordError::TooShort)),
            ("password123", Err(PasswordError::Common)),
            ("PASSWORD123", Err(PasswordError::Common)),
            ("aaaaaaaaaaaa", Err(PasswordError::Common)),
            ("sunny meadow 42", Ok(())),
        ];
        for (text, expected) in rows {
            assert_eq!(check(&SecretString::from(text)), expected, "{text}");
        }
        assert_eq!(check(&SecretString::from("ab".repeat(101))), Err(PasswordError::TooLong));
    }
}
