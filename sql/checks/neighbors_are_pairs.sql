-- A pair stands once, in the order of ids, of two embedded images, with a cosine.
-- Grain: one row per pair that breaks this. Parameters: none.
with embedded as (
    select image_id
    from images
    where status = 'embedded'
),

pairs as (
    select
        image_id,
        neighbor_id,
        min(cosine) as cosine,
        count(*) as times
    from neighbors
    group by
        image_id,
        neighbor_id
)

select
    pairs.image_id,
    pairs.neighbor_id,
    pairs.cosine,
    pairs.times
from pairs
left join embedded as a on pairs.image_id = a.image_id
left join embedded as b on pairs.neighbor_id = b.image_id
where
    pairs.image_id >= pairs.neighbor_id
    or pairs.cosine not between 0 and 1
    or pairs.times > 1
    or a.image_id is null
    or b.image_id is null
