-- How many objects the sources hold, whatever became of them.
-- Grain: one row. Parameters: none.
select count(*) as objects
from current_objects
