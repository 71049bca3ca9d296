//! Authentication: who calls, for which organization, under which caps.

use crate::refusal::{Kind, Refusal};
use crate::stage::read::{Credential, unauthenticated};
use accounts::api_key::KeyRefusal;
use accounts::limits::MemberCaps;
use accounts::ports::KeyDirectory;
use accounts::token::TokenSigner;
use accounts::{KeyKind, KeyRecord, Pepper};
use billing::CapId;
use kernel::ids::{MemberId, OrgId, WorkspaceId};
use kernel::{AccountRef, Moment};
use std::sync::Arc;

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    pub org: OrgId,
    pub account: AccountRef,
    pub workspace: WorkspaceId,
    pub member: MemberId,
    /// `None` for the browser's token.
    pub key: Option<Arc<KeyRecord>>,
    /// Every cap that applies, the key's own first.
    pub caps: Vec<CapId>,
}

/// What tells who calls.
#[derive(Clone)]
pub struct Doorkeeper {
    pub keys: Arc<dyn KeyDirectory>,
    pub members: Arc<dyn MemberCaps>,
    pub peppers: Vec<Pepper>,
    pub tokens: TokenSigner,
}

impl Doorkeeper {
    /// Finds the caller of a sound credential that may act as `kind`.
    pub async fn identify(
        &self,
        credential: &Credential,
        kind: KeyKind,
        now: Moment,
    ) -> Result<Caller, Refusal> {
        match credential {
            Credential::Token(token) => self.browser(token, kind, now).await,
            Credential::Key(secret) => {
                let record = self.record(credential).await?;
                record.check(kind, now).map_err(|refusal| key_refusal(refusal, secret.kind()))?;
                Ok(Caller::of_key(record))
            }
        }
    }

    /// Finds the key of a credential, whatever its kind; it must not be disabled or expired.
    pub async fn any_key(&self, credential: &Credential, now: Moment) -> Result<Caller, Refusal> {
        let record = self.record(credential).await?;
        record.check(record.kind, now).map_err(|refusal| key_refusal(refusal, record.kind))?;
        Ok(Caller::of_key(record))
    }

    async fn record(&self, credential: &Credential) -> Result<Arc<KeyRecord>, Refusal> {
        let Credential::Key(secret) = credential else {
            return Err(Refusal::new(
                Kind::PermissionDenied,
                "Use an API key here, not the browser's token.",
            ));
        };
        for pepper in &self.peppers {
            let found = self.keys.find(&pepper.digest(secret)).await;
            if let Some(record) = found.map_err(|error| Refusal::from_store(&error))? {
                return Ok(record);
            }
        }
        Err(unauthenticated("This API key does not exist or was deleted. Create one on the Keys page."))
    }

    /// The browser has no key of its own, so no limit of a key; those of member, workspace and organization bind
    /// it as they bind keys.
    async fn browser(&self, token: &str, kind: KeyKind, now: Moment) -> Result<Caller, Refusal> {
        if kind != KeyKind::Model {
            return Err(Refusal::new(
                Kind::PermissionDenied,
                "Only management keys can perform this operation.",
            ));
        }
        let claims = self.tokens.verify(token, now).map_err(|error| unauthenticated(error.to_string()))?;
        let caps = self.members.member_caps(claims.org, claims.workspace, claims.member).await;
        let caps = caps.map_err(|error| Refusal::from_store(&error))?;
        Ok(Caller {
            org: claims.org,
            account: claims.account,
            workspace: claims.workspace,
            member: claims.member,
            key: None,
            caps: caps.into_iter().map(CapId).collect(),
        })
    }
}

impl Caller {
    fn of_key(record: Arc<KeyRecord>) -> Self {
        let own = record.limit.map(|_| CapId(accounts::ports::key_cap(record.id)));
        let caps = own.into_iter().chain(record.caps.iter().cloned().map(CapId)).collect();
        Self {
            org: record.org,
            account: record.account,
            workspace: record.workspace,
            member: record.creator,
            caps,
            key: Some(record),
        }
    }
}

fn key_refusal(refusal: KeyRefusal, kind: KeyKind) -> Refusal {
    match (refusal, kind) {
        (KeyRefusal::Disabled, _) => unauthenticated("This API key is disabled. Enable it on the Keys page."),
        (KeyRefusal::Expired, _) => {
            unauthenticated("This API key has expired. Create a new one on the Keys page.")
        }
        (KeyRefusal::WrongKind, KeyKind::Management) => Refusal::new(
            Kind::PermissionDenied,
            "Management keys cannot call models. Use an API key (sk-fb-v1-…).",
        ),
        (KeyRefusal::WrongKind, KeyKind::Model) => {
            Refusal::new(Kind::PermissionDenied, "Only management keys can perform this operation.")
        }
    }
}
