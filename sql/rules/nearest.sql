-- The images nearest to a threshold, on the side where its comparison holds and on the other.
-- Grain: one row per image. Parameters: $threshold, $images (for each side). Reads the view `compared` (one row per
-- image that the comparison decides: image_id, score, and whether the comparison holds).
with sides as (
    (
        select
            image_id,
            score,
            holds
        from compared
        where holds
        order by abs(score - $threshold), image_id
        limit $images
    )
    union all
    (
        select
            image_id,
            score,
            holds
        from compared
        where not holds
        order by abs(score - $threshold), image_id
        limit $images
    )
)

select
    image_id,
    holds,
    round(score::double, 7) as score,
    round(abs(score::double - $threshold), 7) as distance
from sides
