//! The ports in memory, and a small world of sample data: for the tests of the pages and for the preview.
//!
//! Fakes keep no rules of their own beyond what the pages need to be looked at. The paths are named because
//! the preview includes this file from another folder.

#[path = "fakes/catalog.rs"]
mod catalog;
#[path = "fakes/ledger.rs"]
mod ledger;
#[path = "fakes/money.rs"]
mod money;
#[path = "fakes/people.rs"]
mod people;
#[path = "fakes/world.rs"]
mod world;

pub(crate) use self::world::{DEMO_EMAIL, PASSWORD, STAFF_EMAIL, World};
