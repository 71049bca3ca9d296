//! The browser's token for the gateway: a JWT of five minutes, signed with Ed25519. The "try it" button
//! uses it, so that no API key ever reaches a page.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kernel::ids::{MemberId, OrgId, WorkspaceId};
use kernel::{AccountRef, Moment};
use serde::{Deserialize, Serialize};

/// How long a token is good for.
pub const LIFETIME_SECONDS: i64 = 300;
const AUDIENCE: &str = "gateway";
const ISSUER: &str = "farebox";

/// Whom a token speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserClaims {
    pub org: OrgId,
    pub member: MemberId,
    pub workspace: WorkspaceId,
    pub account: AccountRef,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    aud: String,
    iss: String,
    iat: i64,
    exp: i64,
    #[serde(flatten)]
    claims: BrowserClaims,
}

/// The token is not ours, not for the gateway, or too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the browser token has expired: reload the page")]
    Expired,
    #[error("the browser token is not valid: reload the page")]
    Invalid,
}

/// Signs and checks browser tokens with one Ed25519 key.
#[derive(Clone)]
pub struct TokenSigner {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSigner(…)")
    }
}

impl TokenSigner {
    /// From a key pair: PKCS#8 DER of the secret key and the 32 bytes of the public key.
    #[must_use]
    pub fn new(pkcs8: &[u8], public: &[u8]) -> Self {
        Self { encoding: EncodingKey::from_ed_der(pkcs8), decoding: DecodingKey::from_ed_der(public) }
    }

    /// From the 32 secret bytes of an Ed25519 key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
        Self::new(&pkcs8_of_seed(seed), &public)
    }

    /// A token good from `now` on for [`LIFETIME_SECONDS`].
    pub fn sign(&self, claims: &BrowserClaims, now: Moment) -> Result<String, TokenError> {
        let iat = now.timestamp();
        let wire = Wire {
            aud: AUDIENCE.to_owned(),
            iss: ISSUER.to_owned(),
            iat,
            exp: iat + LIFETIME_SECONDS,
            claims: claims.clone(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &wire, &self.encoding)
            .map_err(|_signing| TokenError::Invalid)
    }

    /// Checks signature, algorithm, issuer, audience and age.
    pub fn verify(&self, token: &str, now: Moment) -> Result<BrowserClaims, TokenError> {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        // The library reads the machine's clock; the age is checked below with the caller's.
        rules.validate_exp = false;
        let wire = jsonwebtoken::decode::<Wire>(token, &self.decoding, &rules)
            .map_err(|_not_ours| TokenError::Invalid)?
            .claims;
        let now = now.timestamp();
        if now >= wire.exp {
            return Err(TokenError::Expired);
        }
        let plausible = wire.iat <= now + 60 && wire.exp - wire.iat <= LIFETIME_SECONDS;
        if plausible { Ok(wire.claims) } else { Err(TokenError::Invalid) }
    }
}

/// Whether a bearer value looks like a JWT rather than an API key.
#[must_use]
pub fn looks_like_token(bearer: &str) -> bool {
    bearer.starts_with("eyJ") && bearer.matches('.').count() == 2
}

/// PKCS#8 DER of an Ed25519 seed (RFC 8410): a fixed head and the 32 bytes.
#[must_use]
pub fn pkcs8_of_seed(seed: &[u8; 32]) -> Vec<u8> {
    const HEAD: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    HEAD.iter().chain(seed).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use kernel::ids::AccountId;
    use serde_json::json;

    // Test vector 1 of RFC 8032: seed and public key.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn signer() -> TokenSigner {
        let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(SEED).unwrap().try_into().unwrap();
        let signer = TokenSigner::new(&pkcs8_of_seed(&seed), &URL_SAFE_NO_PAD.decode(PUBLIC).unwrap());
        let derived = TokenSigner::from_seed(&seed).sign(&claims(), at(0)).unwrap();
        assert!(signer.verify(&derived, at(0)).is_ok());
        signer
    }

    fn claims() -> BrowserClaims {
        BrowserClaims {
            org: OrgId::from_uuid(Default::default()),
            member: MemberId::from_uuid(Default::default()),
            workspace: WorkspaceId::from_uuid(Default::default()),
            account: AccountRef { account: AccountId::from_uuid(Default::default()), shard: 3 },
        }
    }

    fn at(seconds: i64) -> Moment {
        Moment::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_token_speaks_for_its_member_for_five_minutes() {
        let token = signer().sign(&claims(), at(0)).unwrap();
        assert!(looks_like_token(&token));
        assert_eq!(signer().verify(&token, at(0)), Ok(claims()));
        assert_eq!(signer().verify(&token, at(299)), Ok(claims()));
        assert_eq!(signer().verify(&token, at(300)), Err(TokenError::Expired));
        assert_eq!(signer().verify(&token, at(-120)), Err(TokenError::Invalid));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let good = signer().sign(&claims(), at(0)).unwrap();
        let parts: Vec<&str> = good.split('.').collect();
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let none = encode(json!({"alg": "none", "typ": "JWT"}));
        let other_key = TokenSigner::new(&pkcs8_of_seed(&[5; 32]), &[0; 32]).sign(&claims(), at(0)).unwrap();
        let hmac = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &json!({"aud": "gateway", "iss": "farebox"}),
            &EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(PUBLIC).unwrap()),
        )
        .unwrap();
        let sign = |aud: &str, iss: &str, lifetime: i64| {
            let mut body = serde_json::to_value(claims()).unwrap();
            let fields = json!({"aud": aud, "iss": iss, "iat": at(0).timestamp(), "exp": at(0).timestamp() + lifetime});
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &body, &signer().encoding).unwrap()
        };
        assert_eq!(signer().verify(&sign("gateway", "farebox", 300), at(0)), Ok(claims()));
        let rows = [
            ("alg none", format!("{none}.{}.", parts[1])),
            ("alg none with a signature", format!("{none}.{}.{}", parts[1], parts[2])),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("another key", other_key),
            ("the public key as an HMAC secret", hmac),
            ("another audience", sign("mail", "farebox", 300)),
            ("another issuer", sign("gateway", "elsewhere", 300)),
            ("a longer life than we give", sign("gateway", "farebox", 3000)),
            ("garbage", "eyJ.x.y".to_owned()),
        ];
        for (what, token) in rows {
            assert_eq!(signer().verify(&token, at(0)), Err(TokenError::Invalid), "{what}");
        }
    }
}
