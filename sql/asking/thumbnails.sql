-- The small pictures of some images, each of the row that counts.
-- Grain: one row per image that has a thumbnail. Parameters: $image_ids, a list of UUIDs.
select
    image_id,
    any_value(webp) as webp
from thumbnail_rows
anti join superseded using (image_id, run_id)
where image_id in (select unnest($image_ids::uuid[]))
group by image_id
