-- The images that one concept claims and another one does not, or the other way round, each at its own threshold.
-- Grain: one row per image, the widest disagreement first. Parameters: $concept (people), $other_concept,
-- $threshold (0.5), $other_threshold (0.5), $rows (20).
with pairs as (
    select
        one.uri,
        one.score,
        other.score as other_score
    from score_values as one
    inner join score_values as other using (image_id)
    where
        one.concept = $concept
        and other.concept = $other_concept
)

select
    score,
    other_score,
    uri
from pairs
where (score >= $threshold::float) != (other_score >= $other_threshold::float)
order by abs((score - $threshold::float) - (other_score - $other_threshold::float)) desc, uri asc
limit $rows
