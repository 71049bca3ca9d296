//! Organizations, their members and what each role may do.

use kernel::ids::{MemberId, OrgId, PersonId, WorkspaceId};
use kernel::{AccountRef, Moment};

/// What a member may do in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Owner,
    Admin,
    Billing,
    Developer,
    Viewer,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Billing => "billing",
            Self::Developer => "developer",
            Self::Viewer => "viewer",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Admin, Self::Billing, Self::Developer, Self::Viewer]
            .into_iter()
            .find(|role| role.as_str() == text)
    }

    /// Make, change and revoke API keys and provider keys.
    #[must_use]
    pub fn manages_keys(self) -> bool {
        matches!(self, Self::Owner | Self::Admin | Self::Developer)
    }

    /// Buy credits and see purchases.
    #[must_use]
    pub fn buys_credits(self) -> bool {
        matches!(self, Self::Owner | Self::Admin | Self::Billing)
    }

    /// Call models from the browser.
    #[must_use]
    pub fn calls_models(self) -> bool {
        matches!(self, Self::Owner | Self::Admin | Self::Developer)
    }
}

/// An organization as its member sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgSummary {
    pub id: OrgId,
    pub name: String,
    pub account: AccountRef,
    pub default_workspace: WorkspaceId,
    pub personal: bool,
}

/// A person in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub person: PersonId,
    pub email: String,
    pub role: Role,
    pub joined_at: Moment,
}
