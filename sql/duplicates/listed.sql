-- The duplicates with what one wants to see of both images.
-- Grain: one row per removed image, by the kept image, its nearest duplicate first. Parameters: none. Reads the table
-- `duplicates`.
with involved as (
    select image_id
    from duplicates
    union
    select duplicate_of
    from duplicates
),

facts as (
    select
        image_id,
        uri,
        width_px,
        height_px,
        size_bytes
    from current_images
    semi join involved using (image_id)
)

select
    kept.uri as duplicate_of,
    gone.uri,
    duplicates.cosine,
    duplicates.tier,
    kept.width_px as kept_width_px,
    kept.height_px as kept_height_px,
    kept.size_bytes as kept_size_bytes,
    gone.width_px,
    gone.height_px,
    gone.size_bytes,
    duplicates.duplicate_of as duplicate_of_id,
    duplicates.image_id
from duplicates
inner join facts as kept on duplicates.duplicate_of = kept.image_id
inner join facts as gone on duplicates.image_id = gone.image_id
order by
    kept.uri asc,
    duplicates.cosine desc,
    gone.uri asc
