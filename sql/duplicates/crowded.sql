-- The ranked images of crowds, and the part that each is of.
-- Grain: one row per image. Parameters: none. Reads the view `ranked` and the tables `crowd_images` and `crowd_parts`,
-- whose rowid is the number of a part.
select
    ranked.place,
    crowd_parts.rowid as part
from ranked
inner join crowd_images using (image_id)
inner join crowd_parts
    on
        crowd_images.crowd_id = crowd_parts.crowd_id
        and ranked.group_name = crowd_parts.group_name
        and ranked.never = crowd_parts.never
