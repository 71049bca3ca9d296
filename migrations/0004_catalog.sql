-- What is for sale: providers, models, endpoints and their versioned tariffs, and how they came to be published.
-- Descriptions are documents in the catalog's own words (spec); prices are columns, because money is checked here too.

CREATE TABLE provider (
    slug text PRIMARY KEY CHECK (slug <> ''),
    spec jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE model (
    slug text PRIMARY KEY CHECK (slug LIKE '%_/_%'),
    spec jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE endpoint (
    id uuid PRIMARY KEY,
    model text NOT NULL REFERENCES model,
    provider text NOT NULL REFERENCES provider,
    tag text NOT NULL,
    spec jsonb NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL,
    UNIQUE (model, provider, tag)
);
COMMENT ON COLUMN endpoint.spec IS 'The endpoint as approved, without prices.';

CREATE TABLE draft (
    id uuid PRIMARY KEY,
    source text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'published', 'discarded')),
    content jsonb NOT NULL,
    endpoints integer NOT NULL,
    held_back integer NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    published_at timestamptz,
    effective_from timestamptz,
    CHECK ((state = 'published') = (published_at IS NOT NULL)),
    CHECK ((published_at IS NULL) = (effective_from IS NULL))
);

CREATE TABLE publication (
    version bigint PRIMARY KEY CHECK (version > 0),
    draft_id uuid NOT NULL UNIQUE REFERENCES draft,
    published_by text NOT NULL,
    published_at timestamptz NOT NULL,
    effective_from timestamptz NOT NULL,
    changed_endpoints bigint NOT NULL
);

CREATE TABLE tariff (
    id uuid PRIMARY KEY,
    endpoint_id uuid NOT NULL REFERENCES endpoint,
    kind text NOT NULL CHECK (kind IN ('sale', 'cost')),
    version integer NOT NULL CHECK (version > 0),
    effective_from timestamptz NOT NULL,
    prompt_pico_usd bigint NOT NULL CHECK (prompt_pico_usd >= 0),
    completion_pico_usd bigint NOT NULL CHECK (completion_pico_usd >= 0),
    cache_read_pico_usd bigint CHECK (cache_read_pico_usd >= 0),
    cache_write_pico_usd bigint CHECK (cache_write_pico_usd >= 0),
    cache_write_1h_pico_usd bigint CHECK (cache_write_1h_pico_usd >= 0),
    reasoning_pico_usd bigint CHECK (reasoning_pico_usd >= 0),
    audio_prompt_pico_usd bigint CHECK (audio_prompt_pico_usd >= 0),
    audio_completion_pico_usd bigint CHECK (audio_completion_pico_usd >= 0),
    image_pico_usd bigint CHECK (image_pico_usd >= 0),
    request_pico_usd bigint CHECK (request_pico_usd >= 0),
    tiers jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tiers) = 'array'),
    free boolean NOT NULL,
    catalog_version bigint NOT NULL REFERENCES publication,
    UNIQUE (endpoint_id, kind, version),
    -- Unpriced is refused, never free: only staff's mark makes a zero price.
    CONSTRAINT tariff_is_priced_or_marked_free
        CHECK (free OR kind = 'cost' OR (prompt_pico_usd > 0 AND completion_pico_usd > 0))
);
CREATE INDEX tariff_in_force ON tariff (endpoint_id, kind, effective_from DESC, version DESC);

CREATE FUNCTION refuse_tariff_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a tariff is never changed: publish a new version' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER tariff_stays BEFORE UPDATE OR DELETE ON tariff
    FOR EACH ROW EXECUTE FUNCTION refuse_tariff_change();
