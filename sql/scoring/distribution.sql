-- How the cached scores of each concept are spread, and the share of images at or above its threshold. Quantiles are
-- scores that occur.
-- Grain: one row per concept. Parameters: $concepts, their names, and $thresholds, one for each. Reads the view
-- `score_values`.
with asked as (
    select
        unnest($concepts::varchar[]) as concept,
        unnest($thresholds::float[]) as threshold
),

-- All quantiles in one aggregate: each by itself would hold every score once more.
spread as (
    select
        asked.concept,
        min(score_values.score) as lowest,
        quantile_disc(score_values.score, [0.05, 0.5, 0.95]) as quantiles,
        max(score_values.score) as highest,
        avg(score_values.score) as mean,
        avg((score_values.score >= asked.threshold)::integer) as at_or_above
    from asked
    inner join score_values using (concept)
    group by asked.concept
)

select
    concept,
    lowest,
    quantiles[1] as p05,
    quantiles[2] as p50,
    quantiles[3] as p95,
    highest,
    mean,
    at_or_above
from spread
