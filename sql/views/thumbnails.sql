-- Small WebP pictures, at most 160 px a side. A picture whose job was killed before its image was recorded is left out.
-- Grain: one row per embedded image. Parameters: none.
create view thumbnails as
select
    thumbnail_rows.image_id,
    thumbnail_rows.webp
from thumbnail_rows
semi join images using (image_id, run_id)
