//! The kill switch: a provider or a single endpoint taken out of sale at once, whatever the price list says,
//! and brought back. Publications do not touch it.

use async_trait::async_trait;
use kernel::{Moment, StoreError};
use std::collections::HashSet;

/// What is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SwitchKind {
    /// By its slug.
    Provider,
    /// By its name as `author/model at tag`.
    Endpoint,
}

impl SwitchKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Endpoint => "endpoint",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Provider, Self::Endpoint].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One turn of the switch.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    pub kind: SwitchKind,
    pub subject: &'a str,
    pub off: bool,
    /// Staff's email, or `command line`.
    pub by: &'a str,
    /// Why, for those who look later.
    pub reason: &'a str,
}

/// A turn as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchEntry {
    pub kind: SwitchKind,
    pub subject: String,
    pub off: bool,
    pub by: String,
    pub at: Moment,
    pub reason: String,
}

/// What is off at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// Rises with every turn; tells a process that it missed one.
    pub seq: i64,
    pub providers: HashSet<String>,
    pub endpoints: HashSet<String>,
}

/// Staff's switch. Every turn is logged and reaches all processes within a second.
#[async_trait]
pub trait KillSwitch: Send + Sync {
    /// `false` when there is no such provider or endpoint.
    async fn turn(&self, turn: &Turn<'_>, at: Moment) -> Result<bool, StoreError>;

    /// Newest first.
    async fn switch_log(&self, limit: u32) -> Result<Vec<SwitchEntry>, StoreError>;
}
