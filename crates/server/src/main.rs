//! `farebox`: one binary with templates, static files, migrations and the first price list inside.
//!
//! Reads the command line and hands over; the rules live elsewhere.

mod accesses;
mod commands;
mod config;
mod crashes;
mod doors;
mod jobs;
mod own_keys;
mod revocation;
mod serve;
mod telemetry;
mod webhook;
mod wiring;

use crate::config::{Config, SETTINGS};
use clap::{Parser, Subcommand};
use kernel::ids::DraftId;
use kernel::{Moment, SecretString};
use serve::Role;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One key for every model, and books that balance to the last nano-dollar.
///
/// Configuration comes from the environment and, with --config, from a TOML file; `farebox check-config` lists
/// every setting and what is wrong with it.
#[derive(Parser)]
#[command(name = "farebox", version, arg_required_else_help = true)]
struct Arguments {
    /// TOML file: database_url = "…" is FAREBOX_DATABASE_URL
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Open the ports and run: API and site, staff desk, metrics, and the jobs behind them
    Serve {
        /// Which ports this process opens
        #[arg(long, value_enum, default_value = "all")]
        role: Role,
    },
    /// Bring the database to this release's schema and load the Redis functions; safe to repeat
    Migrate,
    /// Prices: import a file into a draft, look at it, publish it
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Providers of your own
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Members of staff
    #[command(subcommand)]
    Staff(StaffCommand),
    /// Prove the books of the running system: every invariant, readable; exit code 1 when one is broken
    Verify,
    /// Signed receipts of calls
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Check the configuration as a whole and list every setting
    CheckConfig,
    /// Print the OpenAPI document of the API
    Openapi,
    /// Make the demo account of a development stack and print its secrets as JSON
    #[command(hide = true)]
    DevSeed,
}

#[derive(Subcommand)]
enum CatalogCommand {
    /// Read a price file (models.dev, LiteLLM, OpenRouter list, or a list of rows) into a draft; nothing goes live
    Import { file: PathBuf },
    /// Show what publishing a draft would change, and what was held back and why
    Diff { draft: DraftId },
    /// Publish a draft: its prices are in force from now, or from --effective-from
    Publish {
        draft: DraftId,
        /// A moment like 2027-01-01T00:00:00Z
        #[arg(long)]
        effective_from: Option<Moment>,
    },
    /// Publish the built-in price list where nothing is live yet
    Seed,
}

#[derive(Subcommand)]
enum ProviderCommand {
    /// Add an OpenAI-compatible server (Ollama, vLLM, llama.cpp, …) with its prices; it works at once
    Add(commands::provider::Add),
}

#[derive(Subcommand)]
enum StaffCommand {
    /// Let somebody sign in to the staff desk. The password is read from standard input
    Add { email: String },
}

#[derive(Subcommand)]
enum ReceiptCommand {
    /// Check a receipt's signature, offline and without any configuration; exit code 1 when it does not fit
    Verify {
        file: PathBuf,
        /// The public keys, as https://SITE/.well-known/farebox-receipt-keys.json gives them
        #[arg(long)]
        keys: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _installed = rustls::crypto::ring::default_provider().install_default();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The whole chain of causes, for the person who typed the command.
fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let _nowhere_left = writeln!(std::io::stderr().lock(), "farebox: {error:#}");
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Command::Openapi = arguments.command {
        commands::say(gateway::http::openapi::document().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Receipt(ReceiptCommand::Verify { file, keys }) = &arguments.command {
        commands::receipt::verify(file, keys)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match Config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(faults) => {
            if matches!(arguments.command, Command::CheckConfig) {
                list_settings()?;
            }
            return Err(faults.into());
        }
    };
    crashes::install(&config)?;
    match arguments.command {
        Command::Serve { role } => {
            telemetry::logging(&config.log)?;
            serve::run(config, role).await?;
        }
        Command::CheckConfig => check_config(&config)?,
        Command::Verify => {
            let house = wiring::build(config, gateway::trace::Tracing::default()).await?;
            return Ok(if commands::verify::run(&house).await? {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::DevSeed => {
            let house = wiring::build(config, gateway::trace::Tracing::default()).await?;
            commands::dev_seed::run(&house).await?;
        }
        Command::Migrate => migrate(&config).await?,
        Command::Catalog(command) => catalog(&config, command).await?,
        Command::Provider(ProviderCommand::Add(add)) => {
            commands::provider::add(&wiring::store(&config).await?, &add).await?;
        }
        Command::Staff(StaffCommand::Add { email }) => staff(&config, &email).await?,
        Command::Openapi | Command::Receipt(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    use kernel::ExposeSecret as _;
    wiring::store(config).await?.migrate().await?;
    let loaded = store_redis::load_library(config.redis_admin_url.expose_secret()).await?;
    let functions = if loaded { "were loaded" } else { "are current" };
    commands::say(&format!("The database is current; the Redis functions {functions}."))
}

async fn catalog(config: &Config, command: CatalogCommand) -> anyhow::Result<()> {
    let store = wiring::store(config).await?;
    match command {
        CatalogCommand::Import { file } => commands::catalog::import(&store, &file).await,
        CatalogCommand::Diff { draft } => commands::catalog::show(&store, draft).await,
        CatalogCommand::Publish { draft, effective_from } => {
            commands::catalog::publish(&store, draft, effective_from).await
        }
        CatalogCommand::Seed => commands::catalog::seed(&store).await,
    }
}

async fn staff(config: &Config, email: &str) -> anyhow::Result<()> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    let secret = SecretString::from(password.trim_end_matches(['\r', '\n']));
    commands::staff::add(&wiring::store(config).await?, email, &secret).await
}

fn check_config(config: &Config) -> anyhow::Result<()> {
    list_settings()?;
    commands::say(&format!("\nThe configuration is sound. Secrets are masked:\n{config:#?}"))
}

fn list_settings() -> anyhow::Result<()> {
    for (name, what) in SETTINGS {
        commands::say(&format!("{name:<32} {what}"))?;
    }
    Ok(())
}
