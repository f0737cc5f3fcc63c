-- Images that were read and that no source lists any more: deleted or moved. They count nowhere, their rows stay.
-- Grain: one row per image, the last one read first. Parameters: $rows (20).
select
    earlier.uri,
    earlier.status,
    earlier.embedded_at as read_at,
    earlier.size_bytes
from images as earlier
anti join current_objects using (uri)
order by earlier.embedded_at desc, earlier.uri asc
limit $rows
