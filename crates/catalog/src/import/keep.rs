//! Prices that the live endpoint has and a row does not state: a forgotten figure must not change what
//! customers pay without anybody having said so.
//!
//! As long as the price that the class would fall back to stays the same, nothing speaks against the live
//! one, and it is kept. When that one changes, nobody knows what becomes of the class: the row is held back
//! until it states the price, or says that there is none any more. Judges nothing else.

use super::check::Fault;
use crate::tariff::{Rates, Tariff, Tier};
use kernel::PicoUsd;

/// A price class: its name, how to reach it, and what it is billed as where it has no price of its own.
struct Class {
    name: &'static str,
    slot: fn(&mut Rates) -> &mut Option<PicoUsd>,
    parent: fn(&Rates) -> PicoUsd,
}

const CLASSES: [Class; 8] = [
    Class { name: "cache_read", slot: |r| &mut r.cache_read, parent: |r| r.prompt },
    Class { name: "cache_write", slot: |r| &mut r.cache_write, parent: |r| r.prompt },
    Class { name: "cache_write_1h", slot: |r| &mut r.cache_write_1h, parent: |r| r.prompt },
    Class { name: "audio_prompt", slot: |r| &mut r.audio_prompt, parent: |r| r.prompt },
    Class { name: "image", slot: |r| &mut r.image, parent: |r| r.prompt },
    Class { name: "request", slot: |r| &mut r.request, parent: |r| r.prompt },
    Class { name: "reasoning", slot: |r| &mut r.reasoning, parent: |r| r.completion },
    Class { name: "audio_completion", slot: |r| &mut r.audio_completion, parent: |r| r.completion },
];

/// Fills what the row leaves out from the live tariff, or refuses the row.
pub(super) fn unstated(live: &Tariff, rates: &mut Rates, tiers: &mut Vec<Tier>) -> Result<(), Fault> {
    let steady = live.rates.prompt == rates.prompt && live.rates.completion == rates.completion;
    if tiers.is_empty() && !live.tiers.is_empty() {
        if !steady {
            return Err(missing("the prices of long prompts", "tiers"));
        }
        tiers.clone_from(&live.tiers);
    }
    classes(&live.rates, rates, "")?;
    for tier in tiers {
        let before = live.tiers.iter().find(|old| old.above_prompt_tokens == tier.above_prompt_tokens);
        if let Some(before) = before {
            let place = format!(" above {} tokens", tier.above_prompt_tokens);
            classes(&before.rates, &mut tier.rates, &place)?;
        }
    }
    Ok(())
}

fn classes(live: &Rates, rates: &mut Rates, place: &str) -> Result<(), Fault> {
    let mut old = *live;
    for class in &CLASSES {
        let (Some(price), None) = (*(class.slot)(&mut old), *(class.slot)(rates)) else { continue };
        if (class.parent)(live) != (class.parent)(rates) {
            return Err(missing(&format!("a {} price{place}", class.name), class.name));
        }
        *(class.slot)(rates) = Some(price);
    }
    Ok(())
}

fn missing(what: &str, field: &str) -> Fault {
    let reason = format!(
        "{what} is live and this row states none, while the price it rests on changes: \
         state \"{field}\", or set \"confirm_drop\" when there is none any more"
    );
    Fault::new("price_missing", reason)
}
