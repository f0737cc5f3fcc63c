-- Images that were read and then replaced at their source under the same URI; the new ones count, the old ones do not.
-- Grain: one row per image that was replaced, the newest replacement first. Parameters: $rows (20).
select
    earlier.uri,
    earlier.embedded_at as old_read_at,
    earlier.size_bytes as old_size_bytes,
    listed.size_bytes,
    listed.last_modified,
    listed.status
from images as earlier
inner join current_images as listed using (uri)
where earlier.image_id != listed.image_id
order by listed.last_modified desc, earlier.uri asc, earlier.embedded_at asc
limit $rows
