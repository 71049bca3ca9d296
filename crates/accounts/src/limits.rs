//! Spending limits beside those of single keys: of a member, a workspace, or the whole organization.
//!
//! The credit engine enforces them in the step that sets money aside; here is who may be bounded and how
//! that is asked for.

use crate::api_key::LimitReset;
use async_trait::async_trait;
use kernel::ids::{MemberId, OrgId, WorkspaceId};
use kernel::{Moment, NanoUsd, StoreError};

/// Whose spending a limit bounds, beside a single key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOwner {
    Member(MemberId),
    Workspace(WorkspaceId),
    Organization,
}

impl LimitOwner {
    /// The name of the cap in the credit engine.
    #[must_use]
    pub fn cap(self, org: OrgId) -> String {
        match self {
            Self::Member(id) => format!("m:{id}"),
            Self::Workspace(id) => format!("w:{id}"),
            Self::Organization => format!("o:{org}"),
        }
    }
}

/// A limit in dollars and when it starts anew.
pub type SpendingLimit = (NanoUsd, LimitReset);

/// Setting and reading limits. Every change reaches all processes within a second.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Sets or (with `None`) removes a limit; `false` when the organization has no such member or workspace.
    async fn set_spending_limit(
        &self,
        org: OrgId,
        owner: LimitOwner,
        limit: Option<SpendingLimit>,
        at: Moment,
    ) -> Result<bool, StoreError>;

    /// The limit that is set; `None` when there is none.
    async fn spending_limit(
        &self,
        org: OrgId,
        owner: LimitOwner,
    ) -> Result<Option<SpendingLimit>, StoreError>;
}

/// Which caps bind a member who calls without a key. The gateway asks it for the browser's own calls.
#[async_trait]
pub trait MemberCaps: Send + Sync {
    /// Names of the caps of member, workspace and organization, sorted.
    async fn member_caps(
        &self,
        org: OrgId,
        workspace: WorkspaceId,
        member: MemberId,
    ) -> Result<Vec<String>, StoreError>;
}
