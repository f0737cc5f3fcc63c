-- What could not be decided in one range of URIs: objects that failed, that are no images, or that no run has read yet.
-- Grain: one row per object that is not embedded, in the order of URIs. Parameters: $low (the first URI), $high (the
-- first one beyond).
create or replace temp table undecided as
with objects as (
    select * from current_objects
    where uri >= $low and uri < $high
),

-- An image's id is made of its URI, so what belongs to the range lies within it; saying so spares reading the rest.
read_images as (
    select * from images
    where uri >= $low and uri < $high
)

select
    o.uri,
    o.bucket,
    o.key,
    i.version_id,
    o.etag,
    o.size_bytes,
    o.last_modified,
    coalesce(i.status, 'pending') as status,
    case when i.status is null then 'not_read_yet' else i.error_code end as error_code,
    i.error_detail
from objects as o
left join read_images as i using (image_id)
where i.status is distinct from 'embedded'
order by o.uri
