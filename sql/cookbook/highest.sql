-- The images that fit a concept best.
-- Grain: one row per image, the highest score first. Parameters: $concept (people), $rows (20).
select
    score,
    uri
from score_values
where concept = $concept
order by score desc, uri asc
limit $rows
