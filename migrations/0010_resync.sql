-- What a resync must know beside the epoch: which Redis process served last, and how far the new one is filled.

ALTER TABLE shard_epoch
    ADD COLUMN served_by text NOT NULL DEFAULT '',
    ADD COLUMN filled boolean NOT NULL DEFAULT false;
UPDATE shard_epoch SET served_by = redis_run_id;
COMMENT ON COLUMN shard_epoch.redis_run_id IS 'The Redis process that the epoch was opened on.';
COMMENT ON COLUMN shard_epoch.served_by IS 'The process of the last published epoch: it must be fenced before another one serves.';
COMMENT ON COLUMN shard_epoch.filled IS 'Every account was loaded in this epoch; until then accounts are loaded on first use and in the background.';
