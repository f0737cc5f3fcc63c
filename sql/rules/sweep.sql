-- How many images a rule `score >= threshold` would remove and keep at each threshold from 0 to 1; equality removes.
-- Grain: one row per threshold. Parameters: $steps, the number of steps between 0 and 1. Reads the view `scored`
-- (one row per embedded image, one column `score`), once, whatever the number of steps.
with thresholds as (
    select
        i,
        (i::double / $steps)::float as threshold
    from range($steps + 1) as steps (i)
),

guessed as (
    select
        score,
        floor(score::double * $steps)::bigint as guess
    from scored
),

-- Rounding can put the guess one step off; the exact comparison below is the one that a rule makes.
binned as (
    select
        case
            when ((guess + 1)::double / $steps)::float <= score then guess + 1
            when (guess::double / $steps)::float > score then guess - 1
            else guess
        end as last_removed_at
    from guessed
),

counted as (
    select
        last_removed_at as i,
        count(*) as images
    from binned
    group by last_removed_at
),

cumulated as (
    select
        thresholds.threshold,
        thresholds.i,
        sum(coalesce(counted.images, 0)) over (order by thresholds.i desc)::bigint as removed,
        sum(coalesce(counted.images, 0)) over ()::bigint as embedded
    from thresholds
    left join counted using (i)
)

select
    threshold,
    removed,
    embedded - removed as kept,
    round(removed / nullif(embedded, 0), 6) as removed_share
from cumulated
order by i
