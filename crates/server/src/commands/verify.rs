//! `farebox verify`: the proof of the books on the running system.

use crate::commands::say;
use crate::jobs::epochs;
use crate::wiring::House;
use billing::engine::{EngineAudit as _, Outbox as _, SHARDS};
use billing::ledger::{Confirmations as _, Ledger as _};
use billing::verify::{Comparison, EngineRule, Finding, LedgerAudit as _, compare};
use kernel::NanoUsd;
use kernel::ids::GenerationId;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How often accounts in motion are looked at again, and how long between.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// A hold whose lifetime ended so long ago should have been swept.
const SWEEP_GRACE: Duration = Duration::from_secs(120);

/// A settlement that is older must be in the ledger.
const CONFIRM_GRACE: Duration = Duration::from_secs(60);
/// Settlements that the ledger is asked about at once.
const CONFIRMED_AT_ONCE: usize = 10_000;

/// Runs every invariant, in their order.
pub(crate) async fn prove(house: &House) -> anyhow::Result<Vec<Finding>> {
    epochs::refresh(house).await?;
    let mut findings = house.store.check().await?;
    findings.extend(against_engine(house).await?);
    findings.push(journaled(house).await?);
    findings.push(overdue(house).await?);
    findings.sort_by_key(|finding| finding.id.trim_start_matches('I').parse::<u32>().unwrap_or(u32::MAX));
    Ok(findings)
}

/// Proves the books and prints the report; whether all invariants hold.
pub(crate) async fn run(house: &House) -> anyhow::Result<bool> {
    let findings = prove(house).await?;
    for finding in &findings {
        let verdict = if finding.holds() { "ok    " } else { "BREACH" };
        say(&format!("{verdict} {:<4} {} ({} checked)", finding.id, finding.rule, finding.checked))?;
        for breach in &finding.breaches {
            say(&format!("         {breach}"))?;
        }
        let shown = u64::try_from(finding.breaches.len()).unwrap_or(u64::MAX);
        if finding.breach_count > shown {
            say(&format!("         … and {} more", finding.breach_count - shown))?;
        }
    }
    let broken = findings.iter().filter(|finding| !finding.holds()).count();
    if broken == 0 {
        say(&format!("The books balance: {} invariants hold.", findings.len()))?;
    } else {
        say(&format!("The books do NOT balance: {broken} of {} invariants are broken.", findings.len()))?;
    }
    Ok(broken == 0)
}

/// The invariants that need both stores. Accounts in motion are looked at again until they rest.
async fn against_engine(house: &House) -> anyhow::Result<Vec<Finding>> {
    let mut checked = 0;
    let mut breaches: BTreeMap<EngineRule, Vec<String>> = BTreeMap::new();
    for shard in 0..SHARDS {
        for look in 1..=LOOKS {
            let (seen, found, moving) = look_at(house, shard).await?;
            let restless = moving > 0 || !found.is_empty();
            if restless && look < LOOKS {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            checked += seen;
            for (rule, detail) in found {
                breaches.entry(rule).or_default().push(detail);
            }
            if moving > 0 && house.engine.length().await? == 0 {
                let detail =
                    format!("shard {shard}: {moving} accounts differ in sequence with nothing on its way");
                breaches.entry(EngineRule::Balance).or_default().push(detail);
            }
            break;
        }
    }
    let finding = |rule: EngineRule| {
        Finding::new(rule.id(), rule.sentence(), checked, breaches.get(&rule).cloned().unwrap_or_default())
    };
    Ok(EngineRule::ALL.into_iter().map(finding).collect())
}

type Looked = (u64, Vec<(EngineRule, String)>, u64);

async fn look_at(house: &House, shard: u8) -> anyhow::Result<Looked> {
    // What a shard still has of an earlier epoch is not its word any more: it is loaded again on first use.
    let epoch = house.store.epochs().await?.into_iter().find(|(of, _)| *of == shard).map(|(_, epoch)| epoch);
    let accounts = house.engine.accounts(shard).await?;
    let engine: HashMap<_, _> = accounts
        .into_iter()
        .filter(|account| Some(account.epoch) == epoch)
        .map(|account| (account.account, account))
        .collect();
    if engine.is_empty() {
        return Ok((0, Vec::new(), 0));
    }
    let posted = house.store.accounts(shard).await?;
    let (mut seen, mut moving, mut found) = (0, 0, Vec::new());
    for account in &posted {
        let Some(audited) = engine.get(&account.account) else { continue };
        seen += 1;
        for comparison in compare(account, audited) {
            match comparison {
                Comparison::Agrees => {}
                Comparison::InMotion => moving += 1,
                Comparison::Differs { rule, detail } => found.push((rule, detail)),
            }
        }
    }
    Ok((seen, found, moving))
}

/// Every settlement of a journal on this machine is in the ledger, within a minute of its call. Those of the last
/// minute are on their way.
async fn journaled(house: &House) -> anyhow::Result<Finding> {
    let root = house.config.journal_dir.clone();
    let written = tokio::task::spawn_blocking(move || store_journal::settlements(&root)).await??;
    let mut missing: HashMap<GenerationId, NanoUsd> =
        written.iter().map(|closing| (closing.key.generation, closing.amount)).collect();
    let checked = missing.len();
    for look in 1..=LOOKS {
        let ids: Vec<GenerationId> = missing.keys().copied().collect();
        for some in ids.chunks(CONFIRMED_AT_ONCE) {
            for (generation, amount) in house.store.finals(some).await? {
                if missing.get(&generation) == Some(&amount) {
                    missing.remove(&generation);
                }
            }
        }
        if missing.is_empty() || look == LOOKS {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let now = house.clock.now();
    let late = missing
        .iter()
        .filter(|(id, _)| (now - id.created_at()).to_std().is_ok_and(|age| age > CONFIRM_GRACE));
    let breaches =
        late.map(|(id, amount)| format!("generation {id}: settled at {}, not in the ledger", amount.get()));
    let rule =
        "every settlement in this machine's journals is booked for good with its amount within a minute";
    Ok(Finding::new("I8", rule, u64::try_from(checked).unwrap_or(u64::MAX), breaches.collect()))
}

async fn overdue(house: &House) -> anyhow::Result<Finding> {
    let count = house.engine.overdue_holds(SWEEP_GRACE).await?;
    let open = house.engine.open_holds().await?;
    let breaches = if count == 0 { Vec::new() } else { vec![format!("{count} holds are overdue")] };
    Ok(Finding::new("I9", "every hold ends within its lifetime and two minutes", open, breaches))
}
