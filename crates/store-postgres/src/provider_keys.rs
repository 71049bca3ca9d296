//! The customers' own keys at providers. They arrive sealed and leave sealed.

use crate::PgStore;
use crate::error::Named as _;
use accounts::ports::{NewProviderKey, ProviderKey, ProviderKeys};
use async_trait::async_trait;
use kernel::ids::{OrgId, ProviderKeyId};
use kernel::{Moment, StoreError};
use uuid::Uuid;

struct Row {
    id: Uuid,
    provider: String,
    name: String,
    hint: String,
    disabled: bool,
    fallback: bool,
    created_at: Moment,
    sealed: Vec<u8>,
}

impl Row {
    fn split(self) -> (ProviderKey, Vec<u8>) {
        let key = ProviderKey {
            id: ProviderKeyId::from_uuid(self.id),
            provider: self.provider,
            name: self.name,
            hint: self.hint,
            disabled: self.disabled,
            fallback: self.fallback,
            created_at: self.created_at,
        };
        (key, self.sealed)
    }
}

#[async_trait]
impl ProviderKeys for PgStore {
    async fn add_provider_key(&self, key: &NewProviderKey) -> Result<ProviderKeyId, StoreError> {
        let id = self.new_id();
        sqlx::query!(
            "INSERT INTO provider_key (id, org_id, provider, name, hint, sealed, fallback, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id,
            key.org.uuid(),
            key.provider,
            key.name,
            key.hint,
            key.sealed,
            key.fallback,
            key.at
        )
        .execute(&self.pool)
        .await
        .named("add_provider_key")?;
        Ok(ProviderKeyId::from_uuid(id))
    }

    async fn provider_keys(&self, org: OrgId) -> Result<Vec<ProviderKey>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT id, provider, name, hint, disabled, fallback, created_at, ''::bytea AS "sealed!"
               FROM provider_key WHERE org_id = $1 ORDER BY id"#,
            org.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("provider_keys")?;
        Ok(rows.into_iter().map(|row| row.split().0).collect())
    }

    async fn delete_provider_key(&self, org: OrgId, id: ProviderKeyId) -> Result<bool, StoreError> {
        let done =
            sqlx::query!("DELETE FROM provider_key WHERE org_id = $1 AND id = $2", org.uuid(), id.uuid())
                .execute(&self.pool)
                .await
                .named("delete_provider_key")?;
        Ok(done.rows_affected() > 0)
    }

    async fn sealed_keys(&self, org: OrgId) -> Result<Vec<(ProviderKey, Vec<u8>)>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT id, provider, name, hint, disabled, fallback, created_at, sealed
             FROM provider_key WHERE org_id = $1 AND NOT disabled ORDER BY id",
            org.uuid()
        )
        .fetch_all(&self.pool)
        .await
        .named("sealed_keys")?;
        Ok(rows.into_iter().map(Row::split).collect())
    }
}
