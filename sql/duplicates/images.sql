-- How many images could have duplicates.
-- Grain: one row. Parameters: none.
select count(*) as images
from current_images
where status = 'embedded'
