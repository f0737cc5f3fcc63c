-- How many runs have written the images of a store.
-- Grain: one row. Parameters: none.
select count(distinct run_id) as runs
from image_rows
