-- What pairs are asked of where there are crowds: images of no crowd, and for a crowd, under the id of the image that
-- was compared for it, the best of each part that stands. None is protected here, because an image that may be removed
-- has its pairs from a protected one of its crowd too. What stands for a crowd has a number of pixels like no other: it
-- is compared by its embedding alone.
-- Grain: one row per image of no crowd, and per part that stands. Parameters: none. Reads the view `ranked` and the
-- tables `crowd_images` and `crowd_parts`.
select
    ranked.image_id,
    ranked.place,
    ranked.group_name,
    false as never,
    ranked._pixels
from ranked
anti join crowd_images using (image_id)
union all
select
    crowd_id as image_id,
    place,
    group_name,
    false as never,
    -2 - place as _pixels
from crowd_parts
where stands
