-- How many copies stand how.
-- Grain: one row per state. Parameters: $parts_above_bytes and $part_bytes (a larger object is copied in parts, of this
-- size).
select
    state,
    count(*) as objects,
    sum(size_bytes)::bigint as size_bytes,
    coalesce(count(*) filter (where size_bytes > $parts_above_bytes), 0) as in_parts,
    coalesce(sum(ceil(size_bytes / $part_bytes)) filter (where size_bytes > $parts_above_bytes), 0)::bigint as parts
from states
group by state
order by state
