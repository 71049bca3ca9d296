//! The chores of this repository: `cargo run -p xtask -- tidy | supply | sqlx`.
//!
//! Deliberately small and dependency-light. It never runs in production, starts no servers (`./dev` does)
//! and changes nothing in the tree except `.sqlx/`.

mod prepare;
mod supply;
mod tidy;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Chores of the Farebox repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the rules that no compiler knows: walls between crates, sizes, words, references.
    Tidy,
    /// Check licenses, banned crates and sources of every dependency against deny.toml, offline.
    Supply,
    /// Write .sqlx/, the descriptions of the checked queries, so that builds need no database.
    Sqlx {
        /// A server on which scratch databases may be created, e.g. postgres://postgres@127.0.0.1:5432/postgres
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// Change nothing; fail when .sqlx/ is not what the migrations and queries say.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let root = root();
    let result = match Cli::parse().chore {
        Chore::Tidy => tidy::run(&root).and_then(|breaches| report("tidy", &breaches)),
        Chore::Supply => supply::run(&root).and_then(|breaches| report("supply", &breaches)),
        Chore::Sqlx { database_url, check } => prepare::run(&root, &database_url, check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints every breach on a line of its own and fails when there is one.
fn report(chore: &str, breaches: &[String]) -> anyhow::Result<()> {
    for breach in breaches {
        say(breach);
    }
    anyhow::ensure!(breaches.is_empty(), "{chore}: {} breaches", breaches.len());
    say(&format!("{chore}: clean"));
    Ok(())
}

/// One line to the terminal. A closed pipe is not worth a failure.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// The root of the repository, two floors above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
