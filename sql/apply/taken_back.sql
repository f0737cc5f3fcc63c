-- What undo finds: ours, which goes; what stands at a key of ours and is another's, which stays; what is gone already.
-- Grain: one row per object or version that is ours, and one per key that now holds another's object, or nothing.
-- Parameters: none. Reads the tables `present`, `ours`, `latest`, and `settled` (those that are ours by their bytes).
create or replace table taken_back as
with mine as (
    select
        ours.key,
        ours.version_id,
        ours.etag,
        ours.size_bytes,
        ours.last_modified
    from ours
    left join settled on ours.key = settled.key and ours.version_id is not distinct from settled.version_id
    where ours.certain or settled.key is not null
),

held as (
    select
        key,
        max_by(version_id, last_modified) as version_id,
        max_by(etag, last_modified) as etag
    from present
    group by key
),

others as (
    select
        latest.key,
        held.version_id,
        held.etag,
        case when held.key is null then 'gone' else 'not_ours' end as state
    from latest
    left join held on latest.key = held.key
    left join mine on held.key = mine.key and held.version_id is not distinct from mine.version_id
    where
        mine.key is null
        and (latest.outcome = 'copied' or (latest.outcome in ('deleted', 'not_ours', 'gone') and held.key is not null))
),

found as (
    select
        *,
        'ours' as state
    from mine
    union all
    select
        key,
        version_id,
        etag,
        null as size_bytes,
        null as last_modified,
        state
    from others
)

select
    *,
    row_number() over (order by key, version_id) as place
from found
