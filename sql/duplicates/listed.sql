-- The duplicates with what one wants to see of both images.
-- Grain: one row per removed image, by the kept image, its nearest duplicate first. Parameters: $at_most, so many of
-- them, the least alike. Reads the table `duplicates`.
with wanted as (
    select *
    from duplicates
    order by
        cosine asc,
        image_id asc
    limit $at_most
),

shown as (
    select image_id
    from wanted
    union
    select duplicate_of
    from wanted
),

facts as (
    select
        image_id,
        uri,
        width_px,
        height_px,
        size_bytes
    from images
    semi join shown using (image_id)
)

select
    kept.uri as duplicate_of,
    gone.uri,
    wanted.cosine,
    wanted.tier,
    kept.width_px as kept_width_px,
    kept.height_px as kept_height_px,
    kept.size_bytes as kept_size_bytes,
    gone.width_px,
    gone.height_px,
    gone.size_bytes,
    wanted.duplicate_of as duplicate_of_id,
    wanted.image_id
from wanted
inner join facts as kept on wanted.duplicate_of = kept.image_id
inner join facts as gone on wanted.image_id = gone.image_id
order by
    kept.uri asc,
    wanted.cosine desc,
    gone.uri asc
