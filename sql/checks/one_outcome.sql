-- Every object the sources hold has at most one row that counts. Returns rows only where that is broken.
-- Grain: one row per image that counts twice. Parameters: none.
select
    image_id,
    count(*) as counted
from images
group by image_id
having count(*) > 1
