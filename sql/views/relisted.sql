-- What a newer list names again: its look decides, so an image that two sources hold does not count twice. A list is
-- a source whose URI does not end in a slash: what it names lies elsewhere.
-- Grain: one row per object of an older listing. Parameters: none.
create temp table relisted as
with named as (
    select
        uri,
        max(run_id) as run_id
    from listing_rows
    where
        not ends_with(source, '/')
        and (select count(distinct every.run_id) > 1 from listing_rows as every) -- else no URI need be read
    group by uri
)

select
    older.source,
    older.run_id,
    older.uri
from listing_rows as older
inner join named using (uri)
where older.run_id < named.run_id
