-- How the values of one column lie between two ends; what lies outside of them stands in the outermost bins.
-- Grain: one row per bin that holds something, in order. Parameters: $low, $high, $bins. Reads the view `valued` (one
-- row per embedded image, its column `value`).
with counted as (
    select
        least($bins - 1, greatest(0, floor((value - $low) / ($high - $low) * $bins)))::integer as bin,
        count(*) as images
    from valued
    where value is not null and not isnan(value)
    group by bin
)

select
    bin,
    images
from counted
order by bin
