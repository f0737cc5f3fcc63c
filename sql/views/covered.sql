-- Which listings a newer one of another source may cover: between their first and last URI there is room for objects
-- of that source. `current_objects` then looks at each object; where nothing is covered, it need not.
-- Grain: one row per listing and newer source. Parameters: none.
create temp table covered as
with sources as (
    select
        source,
        run_id,
        min(uri) as first_uri,
        max(uri) as last_uri
    from listing_rows
    where (select count(distinct every.run_id) > 1 from listing_rows as every) -- else no URI need be read
    group by source, run_id
)

select
    older.source,
    older.run_id,
    newer.source as newer_source
from sources as older
inner join sources as newer on older.run_id < newer.run_id
where
    older.last_uri >= newer.source
    and (older.first_uri <= newer.source or starts_with(older.first_uri, newer.source))
