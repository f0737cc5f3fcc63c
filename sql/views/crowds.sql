-- Images whose embedding is, bit for bit, that of so many others that their pairs are not written out, of what the
-- sources hold now. Each has the pairs of `member_of`, and a cosine of 1 to it and to its other members.
-- Grain: one row per image but the one that was compared. Parameters: none.
create view crowds as
select
    crowd_rows.image_id,
    crowd_rows.member_of
from crowd_rows
semi join current_objects using (image_id)
