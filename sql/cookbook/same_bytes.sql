-- Files whose bytes are the same, and what their copies cost; pictures that only look alike are no matter of this.
-- Grain: one row per content that more than one object has, the most costly first. Parameters: $rows (20).
select
    count(*) as copies,
    any_value(size_bytes) as size_bytes,
    (sum(size_bytes) - any_value(size_bytes))::bigint as wasted_bytes,
    list(uri order by uri) as uris,
    sha256
from current_images
where sha256 is not null
group by sha256
having count(*) > 1
order by wasted_bytes desc, sha256 asc
limit $rows
