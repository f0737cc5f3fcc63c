-- How the scores of a concept are spread: the score that each percentage of the images stays at or below.
-- Grain: one row per percentage. Parameters: $concept (people).
with spread as (
    select quantile_disc(score, [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1]) as scores
    from score_values
    where concept = $concept
)

select
    unnest([0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100]) as at_percent,
    unnest(scores) as score
from spread
