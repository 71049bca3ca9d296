//! Who is calling, for which organization, allowed what: people, organizations, roles, API keys,
//! sessions, browser tokens and the customers' own provider keys.
//!
//! Knows no SQL, no Redis and no web framework. Secrets are hashed or sealed here, stored elsewhere.

pub mod api_key;
pub mod email;
pub mod form_key;
pub mod limits;
pub mod org;
pub mod password;
pub mod ports;
pub mod receipt_key;
pub mod seal;
pub mod session;
pub mod shelf;
pub mod token;

pub use api_key::{KeyDigest, KeyKind, KeyRecord, KeySecret, Pepper};
pub use email::Email;
pub use form_key::FormKey;
pub use org::{Member, OrgSummary, Role};
