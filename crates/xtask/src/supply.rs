//! `xtask supply`: licenses, banned crates and sources of every dependency, by the rules of deny.toml, offline.
//!
//! It does what `cargo deny check licenses bans sources` does for the settings that we use, because compiling
//! cargo-deny takes minutes; CI and `./dev check --full` run the real one on the same file.
//! It knows nothing of advisories, whose database must come from the network.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

/// The parts of deny.toml that are applied.
struct Policy {
    targets: Vec<String>,
    licenses: Vec<String>,
    /// A crate's name, and why it may not come in.
    banned: Vec<(String, String)>,
    registries: Vec<String>,
}

/// Every breach as a sentence, sorted.
///
/// # Errors
/// When deny.toml or the output of `cargo metadata` cannot be read.
pub(crate) fn run(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let policy = policy(&text)?;
    let metadata = metadata(root, &policy.targets)?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("cargo metadata lists no packages")?;
    let mut breaches: Vec<String> = packages.iter().flat_map(|package| judge(package, &policy)).collect();
    breaches.sort();
    Ok(breaches)
}

fn policy(text: &str) -> anyhow::Result<Policy> {
    let deny: toml::Table = text.parse().context("deny.toml")?;
    let banned = deny.get("bans").and_then(|bans| bans.get("deny")).and_then(toml::Value::as_array);
    let banned = banned.context("deny.toml: bans.deny")?.iter().map(|ban| {
        let word = |key| ban.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        Ok((word("crate").context("bans.deny: crate")?, word("reason").context("bans.deny: reason")?))
    });
    Ok(Policy {
        targets: strings(&deny, "graph", "targets")?,
        licenses: strings(&deny, "licenses", "allow")?,
        banned: banned.collect::<anyhow::Result<_>>()?,
        registries: strings(&deny, "sources", "allow-registry")?,
    })
}

fn strings(deny: &toml::Table, section: &str, key: &str) -> anyhow::Result<Vec<String>> {
    let list = deny.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array);
    let list = list.with_context(|| format!("deny.toml: {section}.{key}"))?;
    Ok(list.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
}

fn metadata(root: &Path, targets: &[String]) -> anyhow::Result<Value> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root).stdin(Stdio::null());
    for target in targets {
        command.args(["--filter-platform", target]);
    }
    let output = command.output().context("running cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// One package of `cargo metadata`.
fn judge(package: &Value, policy: &Policy) -> Vec<String> {
    let field = |key| package.get(key).and_then(Value::as_str);
    let name = field("name").unwrap_or_default();
    let mut breaches = Vec::new();
    match field("license") {
        Some(license) if permitted(license, &policy.licenses) => {}
        Some(license) => {
            breaches.push(format!("{name}: its license `{license}` is not allowed by deny.toml"))
        }
        None => breaches.push(format!("{name}: states no license")),
    }
    if let Some((_, reason)) = policy.banned.iter().find(|(banned, _)| banned == name) {
        breaches.push(format!("{name}: banned: {reason}"));
    }
    // Our own crates have no source; everything else comes from a named registry.
    if let Some(source) = field("source") {
        let registry = source.strip_prefix("registry+").unwrap_or_default();
        if !policy.registries.iter().any(|allowed| allowed == registry) {
            breaches.push(format!("{name}: comes from {source}"));
        }
    }
    breaches
}

/// Whether a license expression can be satisfied with the allowed ones: any side of OR, every side of AND.
/// The old notation `A/B` means OR.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Expression { words: &words, allowed };
    let verdict = parser.any();
    verdict && parser.words.is_empty()
}

/// What is left to read of a license expression.
struct Expression<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl<'a> Expression<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.next();
        }
        found
    }

    /// Both sides are always read: a verdict that is known early must not leave words behind.
    fn any(&mut self) -> bool {
        let mut verdict = self.all();
        while self.take("OR") {
            let other = self.all();
            verdict = verdict || other;
        }
        verdict
    }

    fn all(&mut self) -> bool {
        let mut verdict = self.one();
        while self.take("AND") {
            let other = self.one();
            verdict = verdict && other;
        }
        verdict
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let verdict = self.any();
            return self.take(")") && verdict;
        }
        let Some(license) = self.next() else { return false };
        if self.take("WITH") {
            let with = format!("{license} WITH {}", self.next().unwrap_or_default());
            return self.allowed.contains(&with) || self.allowed.iter().any(|allowed| allowed == license);
        }
        self.allowed.iter().any(|allowed| allowed == license)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn license_expressions_follow_and_or_with_and_the_old_slash() {
        let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
        let cases = [
            ("MIT", true),
            ("GPL-3.0-or-later", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/GPL-3.0", true),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("MIT OR Apache-2.0 AND GPL-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-3.0 WITH Classpath-exception", false),
            ("(MIT", false),
            ("MIT GPL-3.0", false),
            ("", false),
        ];
        for (expression, wanted) in cases {
            assert_eq!(permitted(expression, &allowed), wanted, "{expression}");
        }
    }

    #[test]
    fn a_bad_package_is_named_with_every_reason() {
        let text = "[graph]\ntargets = []\n[licenses]\nallow = ['MIT']\n[bans]\ndeny = [{ crate = 'x', reason = 'y' }]\n[sources]\nallow-registry = ['https://r']\n";
        let policy = policy(text).unwrap();
        let bad = serde_json::json!({"name": "x", "license": "GPL-3.0", "source": "git+https://r"});
        assert_eq!(judge(&bad, &policy).len(), 3);
        let good = serde_json::json!({"name": "z", "license": "MIT", "source": "registry+https://r"});
        assert!(judge(&good, &policy).is_empty());
        let ours = serde_json::json!({"name": "ours", "license": "MIT", "source": null});
        assert!(judge(&ours, &policy).is_empty());
    }
}
