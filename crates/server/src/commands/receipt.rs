//! `farebox receipt verify FILE --keys FILE`: checks a signed receipt without a network, a database or any
//! configuration, and prints what it says.

use crate::commands::say;
use accounts::receipt_key;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::path::Path;

/// Prints the receipt's main figures when its signature fits; fails otherwise.
pub(crate) fn verify(file: &Path, keys: &Path) -> anyhow::Result<()> {
    let (signed, keys) = (read(file)?, read(keys)?);
    let (receipt, key) = match receipt_key::check(&signed, &keys) {
        Ok(checked) => checked,
        Err(error) => bail!("the receipt is NOT valid: {error}"),
    };
    if receipt.get("form").and_then(Value::as_str) != Some(billing::receipt::FORM) {
        bail!("the receipt is NOT valid: it has another form than {}", billing::receipt::FORM);
    }
    say(&format!("The receipt is valid: signed with Ed25519 by the key {key}. It says:"))?;
    say(&serde_json::to_string_pretty(receipt)?)
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}

#[cfg(test)]
mod tests {
    use accounts::receipt_key::{ReceiptSigner, check};
    use billing::AttemptRecord;
    use billing::receipt::{Closing, ReceiptFacts};
    use billing::reports::Generation;
    use catalog::{Rates, Tariff, Tier};
    use kernel::clock::SystemClock;
    use kernel::ids::{AccountId, GenerationId};
    use kernel::rng::SeededEntropy;
    use kernel::{Moment, NanoUsd, PicoUsd};
    use serde_json::{Value, json};

    fn full() -> ReceiptFacts {
        let some = |pico| Some(PicoUsd::new(pico));
        let rates = Rates {
            prompt: PicoUsd::new(2_000_000),
            completion: PicoUsd::new(8_000_000),
            cache_read: some(500_000),
            cache_write: some(2_500_000),
            cache_write_1h: some(4_000_000),
            reasoning: some(9_000_000),
            audio_prompt: some(10_000_000),
            audio_completion: some(11_000_000),
            image: some(1_000_000_000),
            request: some(2_000_000_000),
        };
        let id = AccountId::from_uuid(Default::default()).uuid();
        let generation = GenerationId::new(&SystemClock::new(), &SeededEntropy::new(1));
        let record = json!({
            "g": generation, "o": kernel::ids::OrgId::from_uuid(id),
            "w": kernel::ids::WorkspaceId::from_uuid(id), "k": kernel::ids::KeyId::from_uuid(id),
            "m": kernel::ids::MemberId::from_uuid(id), "mo": "acme/large", "p": "acme",
            "e": kernel::ids::EndpointId::from_uuid(id), "t": kernel::ids::TariffId::from_uuid(id),
            "tv": 3, "cv": 7, "us": "exact", "lp": 5, "a": 5, "c": 4, "s": true, "l": 12, "gt": 30,
            "fr": "stop", "nf": "end_turn", "er": "none", "ui": "up-1",
        });
        let mut record: billing::GenerationRecord = serde_json::from_value(record).unwrap();
        record.attempts = vec![AttemptRecord {
            provider: "acme".to_owned(),
            status: 200,
            outcome: "ok".to_owned(),
            started_ms: 1,
            duration_ms: 40,
            own_key: false,
        }];
        let tariff = Tariff {
            id: record.tariff,
            version: 3,
            effective_from: Moment::UNIX_EPOCH,
            rates,
            tiers: vec![Tier { above_prompt_tokens: 200_000, rates }],
            free: false,
        };
        ReceiptFacts {
            generation: Generation {
                record,
                created_at: Moment::UNIX_EPOCH,
                charge: NanoUsd::new(5),
                uncollected: NanoUsd::new(1),
                held: NanoUsd::new(9),
                key_name: None,
            },
            closing: Closing::Settled,
            booked_at: Moment::UNIX_EPOCH,
            tariff: Some(tariff),
            adjusted: NanoUsd::new(-2),
        }
    }

    /// The address of every leaf of a document.
    fn leaves(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| leaves(member, &format!("{at}/{name}"), all))
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| leaves(item, &format!("{at}/{index}"), all));
            }
            _ => all.push(at.to_owned()),
        }
    }

    #[test]
    fn a_receipt_with_any_field_changed_removed_or_added_is_not_valid() {
        let signer = ReceiptSigner::from_seeds(&[3; 32], &[]);
        let keys = signer.published();
        let signed = signer.sign(full().document("https://farebox.example")).unwrap();
        assert!(check(&signed, &keys).is_ok());
        let mut all = Vec::new();
        leaves(&signed, "", &mut all);
        assert!(all.len() > 60, "{} fields", all.len());
        for pointer in &all {
            for change in [json!("other"), json!(4_711), json!(null), json!(false), json!([])] {
                let mut forged = signed.clone();
                let place = forged.pointer_mut(pointer).unwrap();
                if *place == change {
                    continue;
                }
                *place = change;
                assert!(check(&forged, &keys).is_err(), "{pointer}: {forged}");
            }
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let mut forged = signed.clone();
            if let Some(members) = forged.pointer_mut(parent).and_then(Value::as_object_mut) {
                members.remove(name);
                members.insert(format!("{name}_"), json!(1));
                assert!(check(&forged, &keys).is_err(), "{pointer} renamed");
            }
        }
        let mut shorter = signed.clone();
        shorter["receipt"]["attempts"] = json!([]);
        assert!(check(&shorter, &keys).is_err(), "an attempt was hidden");
    }
}
