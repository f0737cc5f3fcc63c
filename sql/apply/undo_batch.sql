-- The next objects to delete.
-- Grain: one row per object or version. Parameters: $after (the place of the last one before), $rows.
select
    place,
    key,
    version_id,
    etag,
    size_bytes,
    last_modified
from taken_back
where state = 'ours' and place > $after
order by place
limit $rows
