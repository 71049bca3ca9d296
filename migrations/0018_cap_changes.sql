-- A change of a cap's use names the cap's period beside its window, so that a cap whose period was changed meanwhile
-- is left alone. Rows from before get it from the number of the window: days, weeks and months since 1970 lie far
-- apart until 2035.

UPDATE credit_outbox SET cap_changes = (
    SELECT jsonb_agg(change || jsonb_build_object('period', CASE
        WHEN (change ->> 'window')::bigint = 0 THEN 'total'
        WHEN (change ->> 'window')::bigint < 10000 THEN 'weekly'
        WHEN (change ->> 'window')::bigint < 24000 THEN 'daily'
        ELSE 'monthly' END) ORDER BY place)
    FROM jsonb_array_elements(cap_changes) WITH ORDINALITY AS listed (change, place))
WHERE jsonb_array_length(cap_changes) > 0 AND NOT cap_changes -> 0 ? 'period';

COMMENT ON COLUMN credit_outbox.cap_changes IS
    'For corrections: [{cap, period, window, used}], the change of use that belongs to the delta.';
