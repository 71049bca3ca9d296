//! The store on a real PostgreSQL: every port's promises, and the proof of the books against planted faults.
//!
//! Each test has a database of its own, copied from one that has the migrations. No fakes of PostgreSQL.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod cut;
#[cfg(test)]
mod database;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod ingest;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod money_back;
#[cfg(test)]
mod people;
#[cfg(test)]
mod price_list;
#[cfg(test)]
mod purchases;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod shelf;
#[cfg(test)]
mod support;
#[cfg(test)]
mod world;
