-- The manifest of what could not be decided: objects that failed, that are no images, or that no run has read yet.
-- Grain: one row per object. Parameters: none.
select
    c.uri,
    c.bucket,
    c.key,
    c.version_id,
    c.etag,
    c.size_bytes,
    c.last_modified,
    c.status,
    case when c.status = 'pending' then 'not_read_yet' else c.error_code end as error_code,
    c.error_detail
from decisions
inner join current_images as c using (image_id)
where decisions.decision = 'error'
order by c.uri
