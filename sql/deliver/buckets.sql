-- The buckets in which what the sources hold lies.
-- Grain: one row per bucket, in order. Parameters: none.
select distinct bucket
from current_objects
where bucket is not null
order by bucket
