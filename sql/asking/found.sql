-- What a search answers: of the table `nearest` the images that the sources still hold, by the rows that count, with
-- what a person wants to know of each. Equal cosines are in the order of their ids, which do not depend on the parts.
-- Rounding to half floats leaves a vector's length within 0.1 % of 1; what that adds to 1 is cut.
-- Grain: one row per image, nearest first. Parameters: $top, how many.
with counted as (
    select
        image_id,
        cosine
    from nearest
    anti join superseded using (image_id, run_id)
)

select
    row_number() over (order by counted.cosine desc, image_id asc) as rank,
    least(counted.cosine, 1::float) as cosine,
    images.uri,
    images.width_px,
    images.height_px,
    images.format,
    images.size_bytes,
    image_id
from counted
inner join current_images as images using (image_id)
order by rank
limit $top
