-- No duplicates, as `duplicates/named` has them.
-- Grain: one row per duplicate, so none. Parameters: none.
select
    null::uuid as image_id,
    null::uuid as duplicate_of_id,
    null::varchar as duplicate_of,
    null::float as cosine
where false
