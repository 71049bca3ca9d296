//! Sealing the customers' provider keys: AES-256-GCM with organization and purpose as associated data, so
//! that a sealed key copied to another row does not open.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use kernel::ids::OrgId;
use kernel::{Entropy, SecretString};

const NONCE_LEN: usize = 12;
const VERSION: u8 = 1;

/// The sealing key of this installation.
#[derive(Clone)]
pub struct Sealer {
    cipher: Aes256Gcm,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// What was sealed cannot be opened: wrong key, wrong organization or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret could not be opened")]
pub struct SealError;

impl Sealer {
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(key.into()) }
    }

    /// Version byte, nonce, ciphertext with tag.
    pub fn seal(
        &self,
        org: OrgId,
        purpose: &str,
        secret: &str,
        rng: &dyn Entropy,
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let aad = associated(org, purpose);
        let payload = Payload { msg: secret.as_bytes(), aad: aad.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_opaque| SealError)?;
        Ok(std::iter::once(VERSION).chain(nonce).chain(sealed).collect())
    }

    pub fn open(&self, org: OrgId, purpose: &str, sealed: &[u8]) -> Result<SecretString, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError)?;
        if *version != VERSION || rest.len() <= NONCE_LEN {
            return Err(SealError);
        }
        let (nonce, body) = rest.split_at(NONCE_LEN);
        let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_length| SealError)?;
        let aad = associated(org, purpose);
        let payload = Payload { msg: body, aad: aad.as_bytes() };
        let plain = self.cipher.decrypt(&Nonce::from(nonce), payload).map_err(|_opaque| SealError)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_not_text| SealError)
    }
}

fn associated(org: OrgId, purpose: &str) -> String {
    format!("farebox:{org}:{purpose}")
}

/// A key derived from another by a label (HMAC-SHA256), for purposes that must not share one key.
#[must_use]
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub fn derive(key: &[u8; 32], label: &str) -> [u8; 32] {
    use hmac::Mac as _;
    let mut mac: hmac::Hmac<sha2::Sha256> =
        hmac::KeyInit::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(label.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::ExposeSecret as _;
    use kernel::rng::SeededEntropy;

    #[test]
    fn a_sealed_secret_opens_only_for_its_org_and_purpose() {
        let rng = SeededEntropy::new(9);
        let sealer = Sealer::new(&[7; 32]);
        let (ours, theirs) =
            (OrgId::from_uuid(Default::default()), OrgId::new(&kernel::clock::SystemClock::new(), &rng));
        let sealed = sealer.seal(ours, "provider_key", "sk-secret", &rng).unwrap();
        assert_eq!(sealer.open(ours, "provider_key", &sealed).unwrap().expose_secret(), "sk-secret");
        assert!(sealer.open(theirs, "provider_key", &sealed).is_err());
        assert!(sealer.open(ours, "webhook", &sealed).is_err());
        assert!(Sealer::new(&[8; 32]).open(ours, "provider_key", &sealed).is_err());
        for cut in 0..sealed.len() {
            assert!(sealer.open(ours, "provider_key", &sealed[..cut]).is_err());
        }
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert!(sealer.open(ours, "provider_key", &damaged).is_err());
        }
    }
}
