-- Adds the images of crowds, each of which is close to all others of its crowd, to those that are close to another one.
-- Grain: one row per image of a crowd. Parameters: none. Reads the table `crowd_images`, adds to `close_images`.
insert into close_images
select image_id
from crowd_images
