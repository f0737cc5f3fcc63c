-- What the sources hold now, each object with what became of it; 'pending' where no run has read it yet.
-- Grain: one row per object. Parameters: none.
create view current_images as
select
    o.image_id,
    o.source,
    o.uri,
    o.bucket,
    o.key,
    regexp_replace(o.key, '/?[^/]*$', '') as folder,
    i.version_id,
    o.etag,
    o.revision,
    o.size_bytes,
    o.last_modified,
    i.sha256,
    i.pixels_sha256,
    i.width_px,
    i.height_px,
    i.format,
    i.mode,
    i.exif_orientation,
    i.error_code,
    i.error_detail,
    i.run_id,
    i.embedded_at,
    i.embedding,
    coalesce(i.status, 'pending') as status
from current_objects as o
left join images as i using (image_id)
