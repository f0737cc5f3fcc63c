-- What else lies below the destination's prefix.
-- Grain: one row. Parameters: none. Reads the tables `present` and `planned`.
select
    count(*) as objects,
    coalesce(sum(size_bytes), 0)::bigint as size_bytes,
    min(key) as example
from present
where key not in (select to_key from planned)
