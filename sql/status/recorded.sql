-- How many images the store has ever recorded, and how many of these the sources no longer hold.
-- Grain: one row. Parameters: none.
select
    count(images.image_id) as recorded,
    count(*) filter (where current_objects.image_id is null) as no_longer_listed
from images
left join current_objects using (image_id)
