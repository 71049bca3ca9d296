//! Walls between crates: the table of docs/architecture.md against the manifests, and which crate may use which
//! library. Only `[dependencies]` and `[build-dependencies]` count; tests may join what the product may not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::tree::Tree;

const PLAN: &str = "docs/architecture.md";

/// Libraries that have one home, so that what they stand for has one home too.
const HOMES: [(&str, &[&str], &str); 5] = [
    ("sqlx", &["store-postgres"], "SQL"),
    ("redis", &["store-redis", "bench"], "Redis"),
    ("async-stripe", &["payments"], "Stripe"),
    ("askama", &["web", "simulators"], "templates"),
    ("argon2", &["accounts"], "passwords"),
];

/// Crates of pure functions, and libraries that would make them wait, send or listen.
const PURE: [&str; 3] = ["kernel", "dialects", "routing"];
const IMPURE: [&str; 7] =
    ["tokio", "tokio-util", "reqwest", "actix-web", "futures-util", "async-trait", "hyper"];
/// Crates of business rules: they may name asynchronous ports, but neither serve nor fetch.
const RULES: [&str; 3] = ["catalog", "accounts", "billing"];
const WIRES: [&str; 3] = ["reqwest", "actix-web", "hyper"];

type Dependencies = BTreeMap<String, BTreeSet<String>>;

pub(super) fn breaches(tree: &Tree) -> anyhow::Result<Vec<String>> {
    let built = manifests(tree)?;
    let plan = tree.get(PLAN).context("docs/architecture.md is missing")?;
    let mut breaches = compare(&table(&plan.text), &built);
    breaches.extend(misplaced_libraries(&built));
    Ok(breaches)
}

/// What every crate of the workspace depends on, by its name.
fn manifests(tree: &Tree) -> anyhow::Result<Dependencies> {
    let mut crates = Dependencies::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let manifest: toml::Table = file.text.parse().with_context(|| file.path.clone())?;
        let name =
            manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
        let name = name.with_context(|| format!("{}: no package name", file.path))?;
        crates.insert(name.to_owned(), dependencies(&manifest));
    }
    Ok(crates)
}

/// Names in `[dependencies]`, `[build-dependencies]` and their forms for single targets.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let per_target =
        targets.into_iter().flat_map(|targets| targets.values().filter_map(toml::Value::as_table));
    let mut names = BTreeSet::new();
    for owner in std::iter::once(manifest).chain(per_target) {
        for kind in ["dependencies", "build-dependencies"] {
            if let Some(list) = owner.get(kind).and_then(toml::Value::as_table) {
                names.extend(list.iter().map(|(name, value)| real_name(name, value)));
            }
        }
    }
    names
}

/// A dependency may be renamed; its `package` is what it is.
fn real_name(name: &str, value: &toml::Value) -> String {
    value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
}

/// Rows of the first table under `## Crates`: the crate, and the crates that it may depend on.
fn table(plan: &str) -> Dependencies {
    let section = plan.lines().skip_while(|line| *line != "## Crates").skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| {
        let mut cells = row.split('|').skip(1);
        let name = quoted(cells.next()?).into_iter().next()?;
        Some((name, quoted(cells.nth(1)?)))
    })
    .collect()
}

/// The words in backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn compare(allowed: &Dependencies, built: &Dependencies) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, dependencies) in built {
        let Some(allowed) = allowed.get(name) else {
            breaches.push(format!("{PLAN}: the table of crates lacks `{name}`"));
            continue;
        };
        for wrong in
            dependencies.iter().filter(|other| built.contains_key(*other) && !allowed.contains(*other))
        {
            breaches.push(format!("{name}: depends on {wrong}, which the table of {PLAN} does not allow"));
        }
    }
    let absent = allowed.keys().filter(|name| !built.contains_key(*name));
    breaches.extend(absent.map(|name| format!("{PLAN}: the table names `{name}`, which is no crate here")));
    breaches
}

fn misplaced_libraries(built: &Dependencies) -> Vec<String> {
    let mut breaches = Vec::new();
    for (name, dependencies) in built {
        for library in dependencies {
            for (what, homes, meaning) in HOMES {
                let is_it = library == what || library.starts_with(&format!("{what}-"));
                if is_it && !homes.contains(&name.as_str()) {
                    breaches.push(format!("{name}: uses {library}; {meaning} lives in {}", homes.join(", ")));
                }
            }
            let barred: &[&str] = match name.as_str() {
                name if PURE.contains(&name) => &IMPURE,
                name if RULES.contains(&name) => &WIRES,
                _ => &[],
            };
            if barred.contains(&library.as_str()) {
                breaches.push(format!("{name}: uses {library}, but neither waits nor speaks to anyone"));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[(&str, &[&str])]) -> Dependencies {
        rows.iter().map(|(name, list)| ((*name).into(), list.iter().map(|x| (*x).into()).collect())).collect()
    }

    #[test]
    fn the_table_is_read_by_its_backticks() {
        let plan = "## Crates\n| crate | answers | may |\n|---|---|---|\n| `a` | x | – |\n| `b` | y | `a`, `c` |\n## Z\n| `n` | | |\n";
        assert_eq!(table(plan), of(&[("a", &[]), ("b", &["a", "c"])]));
    }

    #[test]
    fn an_upward_arrow_a_missing_row_and_a_dead_row_are_found() {
        let allowed = of(&[("a", &[]), ("b", &["a"]), ("gone", &[])]);
        let built = of(&[("a", &["b", "serde"]), ("b", &["a"]), ("new", &[])]);
        assert_eq!(compare(&allowed, &built).len(), 3);
    }

    #[test]
    fn libraries_away_from_home_are_found() {
        let built = of(&[
            ("web", &["sqlx", "askama"]),
            ("payments", &["async-stripe", "async-stripe-checkout"]),
            ("server", &["async-stripe-checkout"]),
            ("routing", &["tokio"]),
            ("billing", &["async-trait"]),
        ]);
        let found = misplaced_libraries(&built);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn dependencies_of_tests_do_not_count_and_renamed_ones_do() {
        let manifest = "[dependencies]\nx = { package = 'sqlx' }\n[dev-dependencies]\nredis = '1'\n[target.'cfg(unix)'.dependencies]\nlibc = '1'\n";
        let names = dependencies(&manifest.parse().unwrap());
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["libc", "sqlx"]);
    }
}
