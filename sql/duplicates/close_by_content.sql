-- The images whose content, bytes or else decoded pixels, another image has too. No vector is asked.
-- Grain: one row per image. Parameters: none.
create or replace temp table close_images as
select image_id
from candidates
where coalesce(pixels_sha256, sha256) is not null
qualify count(*) over (partition by coalesce(pixels_sha256, sha256)) > 1
