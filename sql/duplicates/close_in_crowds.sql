-- The images that are close to another one, with those of crowds, each of which is close to all others of its crowd.
-- Grain: one row per image of each pair, and per image of a crowd. Parameters: none. Reads the tables `close_images`,
-- which it replaces, and `crowd_images`.
create or replace temp table close_images as
select image_id
from close_images
union all
select image_id
from crowd_images
