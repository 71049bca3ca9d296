//! `farebox staff add`: a member of staff with a password.

use crate::commands::say;
use accounts::Email;
use accounts::password::{self, Cost};
use accounts::ports::StaffDesk as _;
use kernel::SecretString;
use kernel::clock::{Clock as _, SystemClock};
use kernel::rng::SystemEntropy;
use store_postgres::PgStore;

/// Adds a member of staff, or gives one a new password.
pub(crate) async fn add(store: &PgStore, email: &str, secret: &SecretString) -> anyhow::Result<()> {
    let email = Email::parse(email)?;
    password::check(secret)?;
    let hash = password::hash(secret, Cost::STANDARD, &SystemEntropy)?;
    store.set_staff(&email, &hash, SystemClock::new().now()).await?;
    say(&format!("{} may sign in to the staff desk.", email.as_str()))
}
