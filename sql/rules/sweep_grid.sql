-- As rules/sweep_groups, for two scores at once: what a rule over both would remove at each pair of thresholds.
-- Grain: one row per pair of thresholds. Parameters: $first, $step, $per, $steps, $below as in rules/sweep_groups;
-- $other_first, $other_step, $other_per, $other_steps, $other_below of the other; $either: one that holds is enough.
-- Reads the view `scored` (one row per image: `score`, `other_score`), once.
with rounded as (
    select
        score,
        other_score,
        round(score * $per::float) as nearest,
        round(other_score * $other_per::float) as other_nearest
    from scored
),

counted as (
    select
        nearest - (score < nearest / $per::float)::float as reached,
        other_nearest - (other_score < other_nearest / $other_per::float)::float as other_reached,
        count(*) as images
    from rounded
    group by reached, other_reached
),

passed as (
    select
        greatest(-1, least($steps, floor((reached - $first) / $step)))::bigint as i,
        greatest(-1, least($other_steps, floor((other_reached - $other_first) / $other_step)))::bigint as j,
        sum(images) as images
    from counted
    group by i, j
),

-- Number -1 is what every image reaches: where j is -1, only the first score counts, and where both are, none does.
by_line as (
    select
        firsts.i,
        seconds.j,
        sum(coalesce(passed.images, 0)) over (partition by seconds.j order by firsts.i desc) as images
    from range(-1, $steps + 1) as firsts (i)
    cross join range(-1, $other_steps + 1) as seconds (j)
    left join passed on firsts.i = passed.i and seconds.j = passed.j
),

reached as (
    select
        i,
        j,
        sum(images) over (partition by i order by j desc)::bigint as both_scores
    from by_line
),

sided as (
    select
        *,
        max(both_scores) over () as images,
        max(both_scores) over (partition by i) as one,
        max(both_scores) over (partition by j) as other_one,
        case when $below then images - one else one end as one_holds,
        case when $other_below then images - other_one else other_one end as other_holds,
        case
            when $below and $other_below then images - one - other_one + both_scores
            when $below then other_one - both_scores
            when $other_below then one - both_scores
            else both_scores
        end as both_hold
    from reached
)

select
    ($first + i * $step)::float / $per::float as threshold,
    ($other_first + j * $other_step)::float / $other_per::float as other_threshold,
    case when $either then one_holds + other_holds - both_hold else both_hold end as removed,
    images - removed as kept,
    round(removed / nullif(images, 0), 6) as removed_share
from sided
where i >= 0 and j >= 0
order by i, j
