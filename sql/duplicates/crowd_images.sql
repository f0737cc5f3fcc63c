-- The images of crowds: the members, and the one of each crowd that was compared for them.
-- Grain: one row per image. Parameters: none. Reads the view `member_rows` (image_id, member_of).
create or replace temp table crowd_images as
select
    image_id,
    member_of as crowd_id
from member_rows
union
select
    member_of as image_id,
    member_of as crowd_id
from member_rows
