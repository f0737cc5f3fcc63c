-- Every score belongs to an embedded image.
-- Grain: one row per score without its image. Parameters: none.
select scores.image_id
from scores
anti join images using (image_id)
