-- The images nearest to the thresholds with their URIs, by rule and comparison: first the side where it holds, the
-- nearest first.
-- Grain: one row per comparison and image. Parameters: none. Reads the view `near` (number, rule, comparison, place,
-- image_id, holds, score, distance).
select
    near.number,
    near.rule,
    near.comparison,
    near.holds,
    near.score,
    near.distance,
    o.uri
from near
inner join current_objects as o using (image_id)
order by near.number asc, near.place asc, near.holds desc, near.distance asc, o.uri asc
