-- The images that are close to another one, whose rank decides what is kept. Pairs from 0.99 on are looked at whatever
-- the threshold, because images of the same content count as duplicates at any.
-- Grain: one row per image of each pair. Parameters: $at, the threshold. Reads the view `pair_rows`.
create or replace temp table close_images as
with pairs as (
    select
        image_id,
        neighbor_id
    from pair_rows
    where cosine >= least($at::float, 0.99::float)
)

select image_id
from pairs
union all
select neighbor_id
from pairs
