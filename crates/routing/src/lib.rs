//! Which endpoint, in which order, and why not the others. Pure: time, chance and health are passed in.
//!
//! Rules follow OpenRouter's published routing (order, only, ignore, sort, max_price, price-weighted choice);
//! every endpoint that is left out has a reason and a setting to change.

pub mod health;
pub mod plan;
pub mod preferences;

pub use health::{Health, HealthBoard, Percentiles, Verdict};
pub use plan::{Ask, Candidate, Constraint, Exclusion, NoEndpoints, OwnKey, Plan, Reason, World, plan};
pub use preferences::{PreferenceError, Preferences, Sort};
