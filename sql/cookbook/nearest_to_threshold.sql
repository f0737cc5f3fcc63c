-- The images on both sides of a threshold that are nearest to it: look at these before you settle on one.
-- Grain: one row per image, the highest score first. Parameters: $concept (people), $threshold (0.5), $rows (10), the
-- number of images on each side.
with sides as (
    select
        score,
        uri,
        score >= $threshold::float as removed,
        row_number() over (
            partition by score >= $threshold::float
            order by abs(score - $threshold::float) asc, uri asc
        ) as place
    from score_values
    where concept = $concept
)

select
    score,
    removed,
    uri
from sides
where place <= $rows
order by score desc, uri asc
