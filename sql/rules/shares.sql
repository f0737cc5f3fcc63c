-- The groups of which a large enough share is flagged for one and the same attribute; each attribute is counted by
-- itself, and of several the one with the largest share decides. With $z above 0 the share is the lower end of Wilson's
-- score interval (https://doi.org/10.1080/01621459.1927.10502953), which few images cannot reach; with 0, the share.
-- Grain: one row per group that the rule holds for. Parameters: $share_at_least, $count_at_least (flagged images), $z,
-- $first_fact (the number of the first attribute). Reads `counted` (one row per group: group_name, images, and in
-- `flagged` how many of these each attribute flags).
create or replace temp table flagged as
with attributes as (
    select
        group_name,
        images,
        unnest(flagged) as flagged,
        generate_subscripts(flagged, 1) as nth
    from counted
),

shares as (
    select
        *,
        flagged / images as bare_share
    from attributes
    where flagged >= $count_at_least
),

bounded as (
    select
        *,
        (
            bare_share + $z * $z / (2 * images)
            - $z * sqrt(bare_share * (1 - bare_share) / images + $z * $z / (4 * images * images))
        ) / (1 + $z * $z / images) as lower_bound
    from shares
),

ranked as (
    select
        *,
        row_number() over (
            partition by group_name
            order by lower_bound desc, nth asc
        ) as place
    from bounded
    where lower_bound >= $share_at_least
)

select
    group_name,
    ($first_fact + nth - 1)::integer as fact,
    lower_bound as score
from ranked
where place = 1
