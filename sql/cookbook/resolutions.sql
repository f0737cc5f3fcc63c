-- How large the images are: their number by the longer side, in steps that double.
-- Grain: one row per step that has images, the smallest first. Parameters: none.
with sizes as (
    select 2 ** floor(log2(greatest(width_px, height_px))) as from_px
    from current_images
    where
        status = 'embedded'
        and width_px is not null
        and height_px is not null
)

select
    from_px::bigint as longer_side_from_px,
    (2 * from_px - 1)::bigint as longer_side_to_px,
    count(*) as images,
    round(count(*) / sum(count(*)) over (), 4) as images_share
from sizes
group by from_px
order by from_px
