-- How many images of each group each of several thresholds would remove and keep. True = removed: `score >= threshold`,
-- equality included, or where $below is true `score < threshold`, as a rule compares.
-- Grain: one row per group and threshold. Parameters: $first, $step, $per, whole numbers: threshold number i is
-- ($first + i * $step) / $per, since one division of FLOATs gives the very FLOAT that its decimal means; $steps, the
-- number of the last threshold; $below. Reads the view `scored` (one row per image: `score`, `group_name`), once.
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
        group_name,
        score,
        round(score * $per::float) as nearest
    from scored
),

counted as (
    select
        group_name,
        nearest - (score < nearest / $per::float)::float as reached,
        count(*) as images
    from rounded
    group by group_name, reached
),

passed as (
    select
        group_name,
        greatest(-1, least($steps, floor((reached - $first) / $step)))::bigint as i,
        sum(images) as images
    from counted
    group by group_name, i
),

groups as (
    select
        group_name,
        sum(images)::bigint as images
    from passed
    group by group_name
),

cumulated as (
    select
        groups.group_name,
        thresholds.i,
        thresholds.threshold,
        groups.images,
        sum(coalesce(passed.images, 0)) over (
            partition by groups.group_name
            order by thresholds.i desc
        )::bigint as at_least
    from groups
    cross join thresholds
    left join passed
        on thresholds.i = passed.i and groups.group_name is not distinct from passed.group_name
)

select
    group_name,
    threshold,
    case when $below then images - at_least else at_least end as removed,
    images - removed as kept,
    round(removed / images, 6) as removed_share
from cumulated
order by group_name, i
