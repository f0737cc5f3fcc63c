-- How much undo finds of each kind.
-- Grain: one row per state. Parameters: none. Reads the table `taken_back`.
select
    state,
    count(*) as objects,
    coalesce(sum(size_bytes), 0)::bigint as size_bytes,
    list(key order by key)[1:3] as examples
from taken_back
group by state
order by state
