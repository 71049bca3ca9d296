//! Signed receipts: one Ed25519 signature over the canonical JSON of a receipt, and its check, which needs
//! nothing but the published keys.
//!
//! Canonical is RFC 8785 for what a receipt holds: members sorted by name, no white space, texts, whole
//! numbers, booleans and null; amounts are texts, so no number is ever rounded. Knows nothing of what a
//! receipt says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Whole numbers above this are not exact in every reader of JSON.
const LARGEST: u64 = 9_007_199_254_740_991;
const ALGORITHM: &str = "Ed25519";

/// Signs receipts with its first key; the public halves of all of them are published.
#[derive(Clone)]
pub struct ReceiptSigner {
    first: SigningKey,
    all: Arc<Vec<VerifyingKey>>,
}

impl std::fmt::Debug for ReceiptSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptSigner({} keys)", self.all.len())
    }
}

/// Why a receipt is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("{0} is missing or has another form than a signed receipt")]
    Form(&'static str),
    #[error("it is signed by the key {0}, which is not among the given keys")]
    UnknownKey(String),
    #[error("the signature does not fit: the receipt was changed, or another system made it")]
    Signature,
}

impl ReceiptSigner {
    /// From the 32 secret bytes of the key that signs, and of older ones whose receipts stay valid.
    #[must_use]
    pub fn from_seeds(first: &[u8; 32], older: &[[u8; 32]]) -> Self {
        let keys = std::iter::once(first).chain(older).map(SigningKey::from_bytes);
        let all: Vec<VerifyingKey> = keys.map(|key| key.verifying_key()).collect();
        Self { first: SigningKey::from_bytes(first), all: Arc::new(all) }
    }

    /// `{"receipt": …, "signature": {"algorithm", "key_id", "value"}}`.
    pub fn sign(&self, receipt: Value) -> Result<Value, ReceiptError> {
        let signature = self.first.sign(canonical(&receipt)?.as_bytes());
        Ok(json!({
            "receipt": receipt,
            "signature": {
                "algorithm": ALGORITHM,
                "key_id": key_id(&self.first.verifying_key()),
                "value": URL_SAFE_NO_PAD.encode(signature.to_bytes()),
            },
        }))
    }

    /// The public keys as a JSON Web Key Set (RFC 7517, RFC 8037), the signing one first.
    #[must_use]
    pub fn published(&self) -> Value {
        let key = |key: &VerifyingKey| {
            json!({
                "kty": "OKP", "crv": ALGORITHM, "use": "sig", "alg": "EdDSA",
                "kid": key_id(key), "x": URL_SAFE_NO_PAD.encode(key.as_bytes()),
            })
        };
        json!({ "keys": self.all.iter().map(key).collect::<Vec<_>>() })
    }
}

/// Checks a signed receipt against a published key set; gives the receipt and the key's name.
pub fn check<'a>(signed: &'a Value, keys: &Value) -> Result<(&'a Value, &'a str), ReceiptError> {
    let text =
        |pointer: &str, what| signed.pointer(pointer).and_then(Value::as_str).ok_or(ReceiptError::Form(what));
    let receipt = signed.get("receipt").ok_or(ReceiptError::Form("\"receipt\""))?;
    if text("/signature/algorithm", "\"algorithm\"")? != ALGORITHM {
        return Err(ReceiptError::Form("\"algorithm\""));
    }
    // Nothing beside what is signed may stand in the file and be believed.
    let members = |value: &Value| value.as_object().map(serde_json::Map::len);
    if members(signed) != Some(2) || signed.get("signature").and_then(members) != Some(3) {
        return Err(ReceiptError::Form("the file"));
    }
    let name = text("/signature/key_id", "\"key_id\"")?;
    let key = published_key(keys, name)?;
    let bytes = URL_SAFE_NO_PAD.decode(text("/signature/value", "the signature")?);
    let signature = bytes.ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let signature = signature.ok_or(ReceiptError::Form("the signature"))?;
    let said = canonical(receipt)?;
    key.verify_strict(said.as_bytes(), &signature).map_err(|_wrong| ReceiptError::Signature)?;
    Ok((receipt, name))
}

fn published_key(keys: &Value, name: &str) -> Result<VerifyingKey, ReceiptError> {
    let all = keys.get("keys").and_then(Value::as_array).ok_or(ReceiptError::Form("the key set"))?;
    let named = |key: &&Value| key.get("kid").and_then(Value::as_str) == Some(name);
    let found = all.iter().find(named).ok_or_else(|| ReceiptError::UnknownKey(name.to_owned()))?;
    let bytes = found.get("x").and_then(Value::as_str).and_then(|x| URL_SAFE_NO_PAD.decode(x).ok());
    let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    key.ok_or(ReceiptError::Form("a published key"))
}

/// The first half of the public key's SHA-256, in hex: the same key has the same name everywhere.
fn key_id(key: &VerifyingKey) -> String {
    Sha256::digest(key.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that are signed.
pub fn canonical(value: &Value) -> Result<String, ReceiptError> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, out: &mut String) -> Result<(), ReceiptError> {
    match value {
        Value::Number(number) => {
            let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            if whole.is_none_or(|whole| whole > LARGEST) {
                return Err(ReceiptError::Form("a whole number"));
            }
            out.push_str(&number.to_string());
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> ReceiptSigner {
        ReceiptSigner::from_seeds(&[7; 32], &[[6; 32]])
    }

    #[test]
    fn canonical_text_is_sorted_dense_and_without_fractions() {
        let value = json!({ "b": [1, null, true], "a": { "z": "ü\"\n", "y": -5 } });
        assert_eq!(canonical(&value).unwrap(), r#"{"a":{"y":-5,"z":"ü\"\n"},"b":[1,null,true]}"#);
        for number in [json!(0.5), json!(1e3), json!(9_007_199_254_740_992_u64), json!(i64::MIN)] {
            assert!(canonical(&number).is_err(), "{number}");
        }
    }

    #[test]
    fn a_receipt_is_believed_as_it_was_signed_whatever_its_white_space() {
        let signed = signer().sign(json!({ "id": "gen-1", "charge_usd": "0.5" })).unwrap();
        let printed: Value = serde_json::from_str(&serde_json::to_string_pretty(&signed).unwrap()).unwrap();
        let (receipt, key) = check(&printed, &signer().published()).unwrap();
        assert_eq!(receipt["charge_usd"], "0.5");
        assert_eq!(signer().published()["keys"][0]["kid"], key);
        let old = ReceiptSigner::from_seeds(&[6; 32], &[]).sign(json!({ "id": "gen-0" })).unwrap();
        assert!(check(&old, &signer().published()).is_ok(), "an older key stays published");
    }

    #[test]
    fn forged_envelopes_are_refused() {
        let keys = signer().published();
        let good = signer().sign(json!({ "id": "gen-1" })).unwrap();
        let stranger = ReceiptSigner::from_seeds(&[9; 32], &[]);
        let foreign = stranger.sign(json!({ "id": "gen-1" })).unwrap();
        assert!(matches!(check(&foreign, &keys), Err(ReceiptError::UnknownKey(_))));
        let mut renamed = foreign.clone();
        renamed["signature"]["key_id"] = good["signature"]["key_id"].clone();
        assert_eq!(check(&renamed, &keys), Err(ReceiptError::Signature));
        let rows: [(&str, Value); 5] = [
            ("/signature/algorithm", json!("none")),
            ("/signature/value", json!("")),
            ("/signature/value", json!(null)),
            ("/signature/key_id", json!(1)),
            ("/receipt", json!({ "id": 0.5 })),
        ];
        for (pointer, value) in rows {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(check(&bad, &keys).is_err(), "{pointer}");
        }
        let mut more = good.clone();
        more["note"] = json!("believe me");
        assert!(check(&more, &keys).is_err(), "nothing unsigned stands beside it");
        for text in [json!(null), json!({}), json!([]), json!({ "receipt": {} })] {
            assert!(check(&text, &keys).is_err(), "{text}");
            assert!(check(&good, &text).is_err(), "{text}");
        }
    }
}
