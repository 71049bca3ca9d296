//! Stripe's webhook signature: `t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of the `Stripe-Signature` header for `body` at `unix_seconds`.
/// `None` only if the secret cannot be a key, which HMAC never says.
pub(crate) fn header(secret: &str, unix_seconds: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{unix_seconds}.{body}").as_bytes());
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("t={unix_seconds},v1={hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_openssl_computes() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(
            header("whsec_test", 1_700_000_000, "{}").unwrap(),
            "t=1700000000,v1=35495024f4ef3f94e5a93e22221544c4b75e9a42300cd965ab81cb85cd994e91"
        );
    }
}
