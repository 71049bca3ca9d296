//! The pages: the public site with the customers' dashboard, and the staff desk on a port of its own.
//! Server-rendered; every list and form works without a script.
//!
//! Knows no SQL, no Redis and no gateway, and computes no money: it shows what `billing` and `catalog` say.

pub mod assets;
pub mod attempts;
mod chart;
mod desk;
pub mod format;
mod frame;
mod pages;
pub mod passwords;
mod query;
mod routes;
mod shield;
pub mod site;
mod snippets;
mod trouble;
mod visit;

pub use attempts::Attempts;
pub use desk::{StaffDeps, configure_staff};
pub use pages::{PublicDeps, configure_public};
pub use passwords::Passwords;
pub use site::{Realm, Site};
