//! `xtask sqlx`: describes the checked queries against a scratch database that has all migrations.
//!
//! The technique of `cargo sqlx prepare`, without its tool: with `SQLX_OFFLINE=false` and a
//! `SQLX_OFFLINE_DIR`, sqlx's macros ask the database and write what they learned into that folder. The scratch
//! database is created and dropped here; no other database is read or changed. Needs `psql`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};

use crate::say;

/// The crates that hold SQL; `tidy` sees to it that no other does.
const SQL_CRATE: &str = "crates/store-postgres";

/// Writes `.sqlx/` anew, or with `check` only compares it.
///
/// # Errors
/// When a migration or a query fails, or with `check` when the committed files differ.
pub(crate) fn run(root: &Path, server_url: &str, check: bool) -> anyhow::Result<()> {
    let name = format!("farebox_sqlx_{}", std::process::id());
    psql(server_url, &["-c", &format!("CREATE DATABASE {name}")]).context("creating a scratch database")?;
    let described = describe(root, &with_database(server_url, &name)?);
    psql(server_url, &["-c", &format!("DROP DATABASE {name} WITH (FORCE)")])?;
    let described = described?;
    let committed_dir = root.join(".sqlx");
    let committed = read_all(&committed_dir)?;
    if committed == described {
        say(&format!("sqlx: .sqlx is current, {} queries", described.len()));
        return Ok(());
    }
    if check {
        for name in committed.keys().filter(|name| !described.contains_key(*name)) {
            say(&format!(".sqlx/{name}: no query uses it any more"));
        }
        for (name, _) in described.iter().filter(|(name, body)| committed.get(*name) != Some(*body)) {
            say(&format!(".sqlx/{name}: missing or stale"));
        }
        bail!(".sqlx is stale; run `./dev sqlx` and commit it");
    }
    replace(&committed_dir, &described)?;
    say(&format!("sqlx: wrote {} queries to .sqlx", described.len()));
    Ok(())
}

/// Applies the migrations, then lets the macros write into an empty folder, and reads that folder.
fn describe(root: &Path, url: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    for file in migrations(root)? {
        let path = file.to_string_lossy();
        // A first line of `-- no-transaction` is sqlx's own mark for a migration that must run outside of one.
        let alone = fs::read_to_string(&file)?.starts_with("-- no-transaction");
        let mode: &[&str] = if alone { &[] } else { &["-1"] };
        psql(url, &[mode, &["-f", path.as_ref()]].concat()).with_context(|| path.to_string())?;
    }
    let out = root.join("target").join(format!("sqlx-prepare-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    let touched = touch_roots(&root.join(SQL_CRATE))?;
    let status = Command::new("cargo")
        .args(["check", "--quiet", "-p", "store-postgres", "--all-targets"])
        .current_dir(root)
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &out)
        .stdin(Stdio::null())
        .status();
    untouch(touched);
    let described = read_all(&out);
    fs::remove_dir_all(&out)?;
    ensure!(status.context("running cargo")?.success(), "store-postgres does not compile against its schema");
    described
}

/// `NNNN_name.sql` in order of their numbers.
fn migrations(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("migrations"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A source file, its modification time before, and the one given to it.
type Touched = (PathBuf, SystemTime, SystemTime);

/// cargo does not know that the macros' output depends on a database: it must think the roots have changed.
fn touch_roots(krate: &Path) -> anyhow::Result<Vec<Touched>> {
    let candidates = ["src/lib.rs", "tests/main.rs", "tests/it/main.rs", "tests/it.rs"];
    let mut touched = Vec::new();
    for path in candidates.iter().map(|file| krate.join(file)).filter(|path| path.exists()) {
        let file = File::options().append(true).open(&path)?;
        let before = file.metadata()?.modified()?;
        file.set_modified(now())?;
        let after = file.metadata()?.modified()?;
        touched.push((path, before, after));
    }
    Ok(touched)
}

/// Puts the old times back, so that other builds stay fresh; not where somebody has edited the file meanwhile.
fn untouch(touched: Vec<Touched>) {
    for (path, before, after) in touched {
        let Ok(file) = File::options().append(true).open(&path) else { continue };
        if file.metadata().and_then(|meta| meta.modified()).is_ok_and(|now| now == after) {
            file.set_modified(before).ok();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a file time for cargo; no rule of the product depends on it")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Every file of a folder by name; an absent folder is an empty one.
fn read_all(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if dir.exists() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
        }
    }
    Ok(files)
}

fn replace(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    for (name, body) in files {
        fs::write(dir.join(name), body)?;
    }
    Ok(())
}

fn psql(url: &str, args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("psql is needed; `./dev up` installs it")?;
    ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").context("not a URL of PostgreSQL")?;
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    let host = address.split_once('/').map_or(address, |(host, _)| host);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced_and_nothing_else() {
        let cases = [
            ("postgres://u:p@h:1/db", "postgres://u:p@h:1/x"),
            ("postgres://h", "postgres://h/x"),
            ("postgresql://u@h/db?sslmode=disable", "postgresql://u@h/x?sslmode=disable"),
        ];
        for (url, wanted) in cases {
            assert_eq!(with_database(url, "x").unwrap(), wanted);
        }
        assert!(with_database("db", "x").is_err());
    }
}
