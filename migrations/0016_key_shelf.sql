-- What the copy of keys beside the credit engine may lack. Gateways read that copy while this database is away, so
-- every change of a key, of the limits that its owners set, and of provider keys leaves a row here, which goes when
-- the copy has it. Triggers write the rows: no path can forget to.

CREATE SEQUENCE shelf_version;

ALTER TABLE api_key ADD COLUMN shelf_version bigint NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN shelf_version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN api_key.shelf_version IS 'Drawn under the row''s lock, so it rises with every commit; an older copy never replaces a newer one.';
COMMENT ON COLUMN organization.shelf_version IS 'The same for the organization''s provider keys.';

CREATE TABLE shelf_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id uuid,
    org_id uuid,
    CHECK (num_nonnulls(key_id, org_id) = 1)
);

CREATE FUNCTION shelve_api_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.shelf_version := nextval('shelf_version');
    INSERT INTO shelf_outbox (key_id) VALUES (NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER shelve BEFORE INSERT OR UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION shelve_api_key();

-- A key's record names the caps of its member, workspace and organization; its own cap is told by its limit.
CREATE FUNCTION shelve_cap() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed cap := coalesce(NEW, OLD);
BEGIN
    UPDATE api_key SET shelf_version = 0
    WHERE changed.owner_id IN (creator_id, workspace_id, org_id) AND deleted_at IS NULL
      AND org_id = (SELECT org_id FROM account WHERE id = changed.account_id);
    RETURN NULL;
END $$;
CREATE TRIGGER shelve AFTER INSERT OR DELETE ON cap FOR EACH ROW EXECUTE FUNCTION shelve_cap();

CREATE FUNCTION shelve_provider_key() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed provider_key := coalesce(NEW, OLD);
BEGIN
    UPDATE organization SET shelf_version = nextval('shelf_version') WHERE id = changed.org_id;
    INSERT INTO shelf_outbox (org_id) VALUES (changed.org_id);
    RETURN NULL;
END $$;
CREATE TRIGGER shelve AFTER INSERT OR UPDATE OR DELETE ON provider_key FOR EACH ROW EXECUTE FUNCTION shelve_provider_key();
