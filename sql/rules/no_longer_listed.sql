-- How many scored images count no longer, because they were deleted or replaced at their source.
-- Grain: one row. Parameters: none. Reads the table `held`, one row per embedded image of the newest listings.
select count(*) - (select count(*) from held) as no_longer_listed
from score_rows
anti join superseded using (image_id, run_id)
