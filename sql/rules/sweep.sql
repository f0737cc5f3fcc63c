-- How many images each of several thresholds would remove and keep. True = removed: `score >= threshold`, equality
-- included, or where $below is true `score < threshold`, as a rule compares.
-- Grain: one row per threshold. Parameters: $first, $step, $per, whole numbers: threshold number i is
-- ($first + i * $step) / $per, since one division of FLOATs gives the very FLOAT that its decimal means; $steps, the
-- number of the last threshold; $below. Reads the view `scored` (one row per image, one column `score`), once.
with thresholds as (
    select
        i,
        ($first + i * $step)::float / $per::float as threshold
    from range($steps + 1) as steps (i)
),

-- Between two whole parts of $per, only the one that is nearer to a score can lie on either side of it; for the others
-- rounding does not matter.
rounded as (
    select
        score,
        round(score * $per::float) as nearest
    from scored
),

counted as (
    select
        nearest - (score < nearest / $per::float)::float as reached,
        count(*) as images
    from rounded
    group by reached
),

passed as (
    select
        greatest(-1, least($steps, floor((reached - $first) / $step)))::bigint as i,
        sum(images) as images
    from counted
    group by i
),

cumulated as (
    select
        thresholds.i,
        thresholds.threshold,
        (select sum(every.images) from passed as every)::bigint as images,
        sum(coalesce(passed.images, 0)) over (order by thresholds.i desc)::bigint as at_least
    from thresholds
    left join passed using (i)
),

sided as (
    select
        i,
        threshold,
        coalesce(images, 0) as images,
        case when $below then coalesce(images, 0) - at_least else at_least end as removed
    from cumulated
)

select
    threshold,
    removed,
    images - removed as kept,
    round(removed / nullif(images, 0), 6) as removed_share
from sided
order by i
