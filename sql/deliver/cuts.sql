-- Where to cut the sources into ranges of URIs of about the same size, so that manifests are written a range at a time,
-- in order, and without ever sorting everything.
-- Grain: one row per cut, in order: the first URI of every range but the first. Parameters: $ranges, $sample (one
-- object in so many is looked at; always the same ones, by the hash of their ids).
with sampled as (
    select
        uri,
        ntile($ranges) over (order by uri) as range_number
    from current_objects
    where hash(image_id) % $sample::ubigint = 0
)

select min(uri) as uri
from sampled
where range_number > 1
group by range_number
order by uri
