-- How much goes in each tier.
-- Grain: one row per tier that removes something. Parameters: none. Reads the table `duplicates`.
select
    tier,
    count(*) as removed,
    sum(size_bytes)::bigint as size_bytes
from duplicates
group by tier
order by array_position(['same bytes', 'same pixels', 'near-duplicate'], tier)
