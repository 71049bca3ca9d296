//! `farebox verify`: the proof of the books on the running system.

use crate::commands::say;
use crate::jobs::epochs;
use crate::wiring::House;
use billing::engine::{EngineAudit as _, Outbox as _, SHARDS};
use billing::ledger::Ledger as _;
use billing::verify::{Comparison, EngineRule, Finding, LedgerAudit as _, compare};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How often accounts in motion are looked at again, and how long between.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// A hold whose lifetime ended so long ago should have been swept.
const SWEEP_GRACE: Duration = Duration::from_secs(120);

/// Runs every invariant, in their order.
pub(crate) async fn prove(house: &House) -> anyhow::Result<Vec<Finding>> {
    epochs::refresh(house).await?;
    let mut findings = house.store.check().await?;
    findings.extend(against_engine(house).await?);
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

async fn overdue(house: &House) -> anyhow::Result<Finding> {
    let count = house.engine.overdue_holds(SWEEP_GRACE).await?;
    let open = house.engine.open_holds().await?;
    let breaches = if count == 0 { Vec::new() } else { vec![format!("{count} holds are overdue")] };
    Ok(Finding::new("I9", "every hold ends within its lifetime and two minutes", open, breaches))
}
