-- Every image that was ever read, with what became of it.
-- Grain: one row per image (URI and revision). Parameters: none.
create view images as
select image_rows.*
from image_rows
anti join superseded using (image_id, run_id)
