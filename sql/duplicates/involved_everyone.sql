-- Every image that was ever read, in place of `duplicates/involved` where most of them are close to another one: to
-- find out which are not would take longer than to rank them too, and change nothing.
-- Grain: one row per image and run. Parameters: none.
create or replace temp table involved as
select image_id
from image_rows
