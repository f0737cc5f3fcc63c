-- When an object that apply made can have come to its key: from the note that it was begun until the note of how it
-- ended, or an hour where there is none, and 3 seconds for the clocks; and what identifies it if all went well.
-- Grain: one row per time that a copy was begun. Parameters: none. Reads the table `journal`.
create or replace table spans as
with noted as (
    select
        *,
        lead(outcome) over keys as next_outcome,
        lead(noted_at) over keys as next_at,
        lead(etag) over keys as next_etag,
        lead(version_id) over keys as next_version_id,
        lead(last_modified) over keys as next_last_modified
    from journal
    where outcome in ('begun', 'copied', 'changed', 'vanished', 'forbidden', 'occupied')
    window keys as (partition by key order by seq)
)

select
    key,
    source_etag,
    size_bytes,
    sha256,
    next_etag as etag,
    next_version_id as version_id,
    next_last_modified as last_modified,
    since - interval 3 seconds as since,
    coalesce(case when next_outcome != 'begun' then next_at end, since + interval 1 hour) + interval 3 seconds as ended
from noted
where outcome = 'begun'
