-- How many scored images count no longer, because they were deleted or replaced at their source.
-- Grain: one row. Parameters: $images (how many embedded images the newest listings have).
select count(*) - $images as no_longer_listed
from score_rows
anti join superseded using (image_id, run_id)
