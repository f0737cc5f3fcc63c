-- The sources and what became of what they hold now.
-- Grain: one row per source. Parameters: none.
select
    source,
    count(*) as objects,
    count(*) filter (where status = 'embedded') as embedded,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'not_an_image') as not_an_image,
    count(*) filter (where status = 'pending') as pending,
    sum(size_bytes)::bigint as size_bytes
from current_images
group by source
order by source
