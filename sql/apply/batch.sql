-- The next copies to make.
-- Grain: one row per copy. Parameters: $after (the place of the last one before), $rows. Reads the tables `states` and
-- `planned`.
with next_ones as (
    select place
    from states
    where is_missing and place > $after
    order by place
    limit $rows
)

select
    planned.place,
    planned.uri,
    planned.bucket,
    planned.key,
    planned.etag,
    planned.size_bytes,
    planned.sha256,
    planned.to_key
from planned
inner join next_ones using (place)
where planned.place > $after
order by planned.place
