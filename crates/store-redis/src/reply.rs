//! The answers of the library: words separated by bars, the first of which says what happened.

use billing::engine::{ClosedBy, Ticket};
use kernel::{NanoUsd, StoreError};
use std::fmt;
use std::str::FromStr;

/// An answer and what it answers, for the error that names both.
#[derive(Debug)]
pub(crate) struct Reply {
    function: &'static str,
    shard: u8,
    text: String,
}

/// Why a shard or the library did not carry out an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this Redis has no epoch")]
    NoEpoch,
    #[error("the epoch belongs to another Redis process")]
    OtherProcess,
    #[error("another epoch is current")]
    Stale,
    #[error("the shard is sealed")]
    Sealed,
    #[error("the account is not loaded in this epoch")]
    NotLoaded,
    #[error("an argument is not what it must be")]
    BadArgument,
    #[error("an amount would leave the range")]
    Range,
}

impl Reply {
    pub(crate) fn new(function: &'static str, shard: u8, text: String) -> Self {
        Self { function, shard, text }
    }

    /// The first word.
    pub(crate) fn head(&self) -> &str {
        self.text.split_once('|').map_or(self.text.as_str(), |(head, _)| head)
    }

    /// The words after the first.
    pub(crate) fn words(&self) -> Words<'_> {
        let rest = self.text.split_once('|').map_or("", |(_, rest)| rest);
        Words { rest: Some(rest), whole: self }
    }

    /// A refusal that has nothing to do with the act itself.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        Some(match self.head() {
            "NOEPOCH" => Refusal::NoEpoch,
            "OTHER" => Refusal::OtherProcess,
            "STALE" => Refusal::Stale,
            "SEALED" => Refusal::Sealed,
            "BADARG" => Refusal::BadArgument,
            "RANGE" => Refusal::Range,
            _ => return None,
        })
    }

    /// The account is not loaded, in an act whose contract has no value for that.
    pub(crate) fn not_loaded(&self) -> StoreError {
        StoreError::unavailable(format!("redis: {self}"), Refusal::NotLoaded)
    }

    /// An answer that the library does not give.
    pub(crate) fn unexpected(&self) -> StoreError {
        StoreError::corrupt(format!("redis: unexpected answer: {self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in shard {}: {}", self.function, self.shard, self.text)
    }
}

/// Reads an answer word by word.
pub(crate) struct Words<'a> {
    rest: Option<&'a str>,
    whole: &'a dyn fmt::Display,
}

impl<'a> Words<'a> {
    /// Words of a text that is not an answer; `whole` names it in errors.
    pub(crate) fn of(text: &'a str, whole: &'a dyn fmt::Display) -> Self {
        Self { rest: Some(text), whole }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StoreError> {
        let rest = self.rest.ok_or_else(|| self.bad("a missing word"))?;
        let (word, rest) = rest.split_once('|').map_or((rest, None), |(word, rest)| (word, Some(rest)));
        self.rest = rest;
        Ok(word)
    }

    pub(crate) fn number<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let word = self.text()?;
        word.parse().map_err(|_not_a_number| self.bad(word))
    }

    pub(crate) fn amount(&mut self) -> Result<NanoUsd, StoreError> {
        self.number().map(NanoUsd::new)
    }

    pub(crate) fn ticket(&mut self) -> Result<Ticket, StoreError> {
        let word = self.text()?;
        ticket_of(word).ok_or_else(|| self.bad(word))
    }

    pub(crate) fn closed_by(&mut self) -> Result<ClosedBy, StoreError> {
        let word = self.text()?;
        closed_by(word).ok_or_else(|| self.bad(word))
    }

    /// Whether another word follows.
    pub(crate) fn more(&self) -> bool {
        self.rest.is_some_and(|rest| !rest.is_empty())
    }

    pub(crate) fn bad(&self, word: &str) -> StoreError {
        StoreError::corrupt(format!("redis: {word:?} in {}", self.whole))
    }
}

/// The library's letter for a ticket.
pub(crate) fn ticket_of(code: &str) -> Option<Ticket> {
    match code {
        "n" => Some(Ticket::None),
        "f" => Some(Ticket::Free),
        "p" => Some(Ticket::Paid),
        _ => None,
    }
}

/// The library's letter for what closed a hold.
pub(crate) fn closed_by(code: &str) -> Option<ClosedBy> {
    match code {
        "s" => Some(ClosedBy::Settle),
        "r" => Some(ClosedBy::Release),
        "x" => Some(ClosedBy::Sweep),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_order_and_a_missing_or_foreign_one_is_an_error() {
        let reply = Reply::new("fb1_settle", 3, "OK|5|-2|f|x".to_owned());
        assert_eq!((reply.head(), reply.refusal()), ("OK", None));
        let mut words = reply.words();
        assert_eq!(words.amount().unwrap(), NanoUsd::new(5));
        assert_eq!(words.amount().unwrap(), NanoUsd::new(-2));
        assert_eq!(words.ticket().unwrap(), Ticket::Free);
        assert_eq!(words.closed_by().unwrap(), ClosedBy::Sweep);
        assert!(!words.more() && words.text().is_err());
        assert!(reply.words().ticket().is_err());
    }

    #[test]
    fn refusals_of_the_shard_are_told_from_answers_of_the_act() {
        let rows =
            [("STALE|4", Some(Refusal::Stale)), ("NOEPOCH", Some(Refusal::NoEpoch)), ("MISSING", None)];
        for (text, refusal) in rows {
            assert_eq!(Reply::new("fb1_reserve", 0, text.to_owned()).refusal(), refusal, "{text}");
        }
    }
}
