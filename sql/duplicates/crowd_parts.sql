-- The ranked images of each crowd by group and by whether they may be removed. Those of one part are close to the same
-- images, so the best one of a part stands for it: where any of them is kept, that one is. Where only 'different'
-- groups are compared, and each image may be a group of its own, not every part need stand: the best three groups, and
-- those that others have too, near a crowd or among its best three. Any other part has three at a cosine of 1 before
-- it, and what keeps these from staying removes it as well. An image without a group is in none.
-- Grain: one row per crowd, group and whether it may be removed. Parameters: $at, the threshold; $groups, as in
-- duplicates/edges. Reads the views `ranked` and `pair_rows` and the table `crowd_images`.
create or replace temp table crowd_parts as
with parts as (
    select
        crowd_images.crowd_id,
        ranked.group_name,
        ranked.never,
        min(ranked.place) as place,
        count(*) as images
    from ranked
    inner join crowd_images using (image_id)
    where $groups = 'any' or ranked.group_name is not null
    group by
        crowd_images.crowd_id,
        ranked.group_name,
        ranked.never
),

placed as (
    select
        *,
        row_number() over (partition by crowd_id, never order by place) as nth
    from parts
),

crowds as (
    select distinct crowd_id
    from crowd_images
),

beside as (
    select pair_rows.neighbor_id as image_id
    from pair_rows
    semi join crowds on pair_rows.image_id = crowds.crowd_id
    where $groups = 'different' and pair_rows.cosine >= $at::float
    union all
    select pair_rows.image_id
    from pair_rows
    semi join crowds on pair_rows.neighbor_id = crowds.crowd_id
    where $groups = 'different' and pair_rows.cosine >= $at::float
),

met as (
    select group_name
    from placed
    where nth <= 3
    union
    select ranked.group_name
    from ranked
    semi join beside using (image_id)
    where ranked.group_name is not null
)

select
    crowd_id,
    group_name,
    never,
    place,
    images,
    dense_rank() over (order by crowd_id)::integer as crowd,
    $groups != 'different' or nth <= 3 or group_name in (from met) as stands
from placed
