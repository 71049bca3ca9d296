//! People, staff, sessions, API keys and provider keys in memory.

use accounts::api_key::{KeyRecord, LimitReset};
use accounts::ports::{
    KeyChange, KeyUsage, Keys, NewKey, NewPerson, NewProviderKey, People, ProviderKey, ProviderKeys, SignUp,
    SignedIn, Staff, StaffDesk,
};
use accounts::{Email, Member, OrgSummary, Role};
use async_trait::async_trait;
use kernel::clock::FixedClock;
use kernel::ids::{AccountId, KeyId, MemberId, OrgId, PersonId, ProviderKeyId, StaffId, WorkspaceId};
use kernel::rng::SeededEntropy;
use kernel::{AccountRef, Moment, NanoUsd, StoreError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ids that differ, whatever the moment.
pub(crate) struct Ids {
    clock: FixedClock,
    rng: SeededEntropy,
}

impl Ids {
    pub(crate) fn new(seed: u64, at: Moment) -> Self {
        Self { clock: FixedClock::at(at), rng: SeededEntropy::new(seed) }
    }

    pub(crate) fn draw<T>(&self, make: fn(&dyn kernel::Clock, &dyn kernel::Entropy) -> T) -> T {
        make(&self.clock, &self.rng)
    }
}

struct Person {
    id: PersonId,
    hash: String,
    signed: SignedIn,
}

/// People by email and sessions by digest.
pub(crate) struct FakePeople {
    ids: Ids,
    people: Mutex<HashMap<String, Person>>,
    sessions: Mutex<HashMap<[u8; 32], (PersonId, Moment)>>,
    /// The store does not answer.
    pub(crate) down: AtomicBool,
}

impl FakePeople {
    pub(crate) fn new(at: Moment) -> Self {
        Self {
            ids: Ids::new(11, at),
            people: Mutex::default(),
            sessions: Mutex::default(),
            down: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_role(&self, email: &str, role: Role) {
        self.people.lock().get_mut(email).unwrap().signed.member.role = role;
    }

    pub(crate) fn signed(&self, email: &str) -> SignedIn {
        self.people.lock().get(email).unwrap().signed.clone()
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.lock().len()
    }

    fn up(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("people", std::io::Error::other("down")));
        }
        Ok(())
    }
}

#[async_trait]
impl People for FakePeople {
    async fn sign_up(&self, person: &NewPerson) -> Result<SignUp, StoreError> {
        self.up()?;
        let email = person.email.as_str().to_owned();
        let mut people = self.people.lock();
        if people.contains_key(&email) {
            return Ok(SignUp::EmailTaken);
        }
        let id = self.ids.draw(PersonId::new);
        let account = self.ids.draw(AccountId::new);
        let org = OrgSummary {
            id: self.ids.draw(OrgId::new),
            name: "Personal".to_owned(),
            account: AccountRef { account, shard: 7 },
            default_workspace: self.ids.draw(WorkspaceId::new),
            personal: true,
        };
        let member = Member {
            id: self.ids.draw(MemberId::new),
            person: id,
            email: email.clone(),
            role: Role::Owner,
            joined_at: person.at,
        };
        let (done_org, done_member) = (org.id, member.id);
        let signed = SignedIn { person: id, email: email.clone(), org, member, expires_at: person.at };
        people.insert(email, Person { id, hash: person.password_hash.clone(), signed });
        Ok(SignUp::Done { person: id, org: done_org, member: done_member })
    }

    async fn credentials(&self, email: &Email) -> Result<Option<(PersonId, String)>, StoreError> {
        self.up()?;
        Ok(self.people.lock().get(email.as_str()).map(|person| (person.id, person.hash.clone())))
    }

    async fn add_session(
        &self,
        person: PersonId,
        digest: &[u8; 32],
        _at: Moment,
        expires_at: Moment,
    ) -> Result<(), StoreError> {
        self.up()?;
        self.sessions.lock().insert(*digest, (person, expires_at));
        Ok(())
    }

    async fn session(&self, digest: &[u8; 32], now: Moment) -> Result<Option<SignedIn>, StoreError> {
        self.up()?;
        let found = self.sessions.lock().get(digest).copied().filter(|(_, until)| *until > now);
        let people = self.people.lock();
        Ok(found.and_then(|(id, _)| people.values().find(|p| p.id == id).map(|p| p.signed.clone())))
    }

    async fn end_session(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.up()?;
        self.sessions.lock().remove(digest);
        Ok(())
    }
}

/// API keys of all organizations.
pub(crate) struct FakeKeys {
    ids: Ids,
    pub(crate) keys: Mutex<Vec<KeyUsage>>,
}

impl FakeKeys {
    pub(crate) fn new(at: Moment) -> Self {
        Self { ids: Ids::new(12, at), keys: Mutex::default() }
    }
}

#[async_trait]
impl Keys for FakeKeys {
    async fn add_key(&self, key: &NewKey) -> Result<KeyRecord, StoreError> {
        let record = KeyRecord {
            id: self.ids.draw(KeyId::new),
            hash: key.hash.clone(),
            kind: key.kind,
            org: key.org,
            account: AccountRef { account: AccountId::from_uuid(Default::default()), shard: 7 },
            workspace: key.workspace,
            creator: key.creator,
            name: key.name.clone(),
            label: key.label.clone(),
            limit: key.limit,
            limit_reset: key.limit_reset,
            include_byok_in_limit: key.include_byok_in_limit,
            disabled: false,
            expires_at: key.expires_at,
            created_at: key.at,
            updated_at: None,
            caps: Vec::new(),
        };
        let mut keys = self.keys.lock();
        if keys.iter().any(|entry| entry.key.hash == key.hash) {
            return Err(StoreError::conflict("add_key: the handle is taken"));
        }
        keys.insert(0, unused(record.clone()));
        Ok(record)
    }

    async fn keys(
        &self,
        org: OrgId,
        offset: u32,
        limit: u32,
        _now: Moment,
    ) -> Result<Vec<KeyUsage>, StoreError> {
        let keys = self.keys.lock();
        let own = keys.iter().filter(|entry| entry.key.org == org);
        Ok(own.skip(offset as usize).take(limit as usize).cloned().collect())
    }

    async fn key(&self, org: OrgId, hash: &str, _now: Moment) -> Result<Option<KeyUsage>, StoreError> {
        Ok(self.keys.lock().iter().find(|e| e.key.org == org && e.key.hash == hash).cloned())
    }

    async fn change_key(
        &self,
        org: OrgId,
        hash: &str,
        change: &KeyChange,
        _at: Moment,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let mut keys = self.keys.lock();
        let found = keys.iter_mut().find(|e| e.key.org == org && e.key.hash == hash);
        Ok(found.map(|entry| {
            entry.key.disabled = change.disabled.unwrap_or(entry.key.disabled);
            entry.key.clone()
        }))
    }

    async fn delete_key(&self, org: OrgId, hash: &str, _at: Moment) -> Result<bool, StoreError> {
        let mut keys = self.keys.lock();
        let before = keys.len();
        keys.retain(|entry| !(entry.key.org == org && entry.key.hash == hash));
        Ok(keys.len() < before)
    }
}

pub(crate) fn unused(key: KeyRecord) -> KeyUsage {
    let zero = NanoUsd::ZERO;
    KeyUsage {
        key,
        usage: zero,
        usage_daily: zero,
        usage_weekly: zero,
        usage_monthly: zero,
        byok_usage: zero,
        byok_usage_daily: zero,
        byok_usage_weekly: zero,
        byok_usage_monthly: zero,
        last_used_at: None,
    }
}

/// No limit, made at a moment.
pub(crate) fn no_reset() -> LimitReset {
    LimitReset::None
}

/// Provider keys of all organizations, with what was sealed.
pub(crate) struct FakeProviderKeys {
    ids: Ids,
    pub(crate) keys: Mutex<Vec<(OrgId, ProviderKey, Vec<u8>)>>,
}

impl FakeProviderKeys {
    pub(crate) fn new(at: Moment) -> Self {
        Self { ids: Ids::new(13, at), keys: Mutex::default() }
    }
}

#[async_trait]
impl ProviderKeys for FakeProviderKeys {
    async fn add_provider_key(&self, key: &NewProviderKey) -> Result<ProviderKeyId, StoreError> {
        let id = self.ids.draw(ProviderKeyId::new);
        let shown = ProviderKey {
            id,
            provider: key.provider.clone(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            disabled: false,
            fallback: key.fallback,
            created_at: key.at,
        };
        self.keys.lock().push((key.org, shown, key.sealed.clone()));
        Ok(id)
    }

    async fn provider_keys(&self, org: OrgId) -> Result<Vec<ProviderKey>, StoreError> {
        let keys = self.keys.lock();
        Ok(keys.iter().filter(|(owner, ..)| *owner == org).map(|(_, key, _)| key.clone()).collect())
    }

    async fn delete_provider_key(&self, org: OrgId, id: ProviderKeyId) -> Result<bool, StoreError> {
        let mut keys = self.keys.lock();
        let before = keys.len();
        keys.retain(|(owner, key, _)| !(*owner == org && key.id == id));
        Ok(keys.len() < before)
    }

    async fn sealed_keys(&self, org: OrgId) -> Result<Vec<(ProviderKey, Vec<u8>)>, StoreError> {
        let keys = self.keys.lock();
        let own = keys.iter().filter(|(owner, ..)| *owner == org);
        Ok(own.map(|(_, key, sealed)| (key.clone(), sealed.clone())).collect())
    }
}

/// Staff by email and their sessions.
pub(crate) struct FakeStaff {
    ids: Ids,
    staff: Mutex<HashMap<String, (StaffId, String)>>,
    sessions: Mutex<HashMap<[u8; 32], StaffId>>,
}

impl FakeStaff {
    pub(crate) fn new(at: Moment) -> Self {
        Self { ids: Ids::new(14, at), staff: Mutex::default(), sessions: Mutex::default() }
    }
}

#[async_trait]
impl StaffDesk for FakeStaff {
    async fn set_staff(
        &self,
        email: &Email,
        password_hash: &str,
        _at: Moment,
    ) -> Result<StaffId, StoreError> {
        let id = self.ids.draw(StaffId::new);
        self.staff.lock().insert(email.as_str().to_owned(), (id, password_hash.to_owned()));
        Ok(id)
    }

    async fn staff_credentials(&self, email: &Email) -> Result<Option<(StaffId, String)>, StoreError> {
        Ok(self.staff.lock().get(email.as_str()).cloned())
    }

    async fn add_staff_session(
        &self,
        staff: StaffId,
        digest: &[u8; 32],
        _at: Moment,
        _expires_at: Moment,
    ) -> Result<(), StoreError> {
        self.sessions.lock().insert(*digest, staff);
        Ok(())
    }

    async fn staff_session(&self, digest: &[u8; 32], _now: Moment) -> Result<Option<Staff>, StoreError> {
        let found = self.sessions.lock().get(digest).copied();
        let staff = self.staff.lock();
        Ok(found.and_then(|id| {
            let (email, _) = staff.iter().find(|(_, (known, _))| *known == id)?;
            Some(Staff { id, email: email.clone() })
        }))
    }

    async fn end_staff_session(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.sessions.lock().remove(digest);
        Ok(())
    }
}
