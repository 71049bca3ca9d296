-- Staff's kill switch: providers and endpoints taken out of sale at once, and brought back. A log; the last
-- entry about a subject counts. Apart from the price list, so that no publication undoes it.

CREATE TABLE kill_switch (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('provider', 'endpoint')),
    subject text NOT NULL CHECK (subject <> ''),
    off boolean NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL,
    reason text NOT NULL CHECK (reason <> '')
);
CREATE INDEX kill_switch_by_subject ON kill_switch (kind, subject, seq DESC);
COMMENT ON COLUMN kill_switch.subject IS 'A provider by its slug; an endpoint as "author/model at tag".';

CREATE TRIGGER kill_switch_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON kill_switch
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
