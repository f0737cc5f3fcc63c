-- Every score belongs to an embedded image.
-- Grain: one row per score without its image. Parameters: none.
with embedded as (
    select image_id
    from images
    where status = 'embedded'
)

select scores.image_id
from scores
anti join embedded using (image_id)
