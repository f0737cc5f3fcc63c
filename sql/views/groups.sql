-- What each folder of the sources holds; a dataset of one folder per person has its people here.
-- Grain: one row per folder of the newest listings. Parameters: none.
create view groups as
select
    folder,
    count(distinct source) as sources,
    count(*) as objects,
    count(*) filter (where status = 'embedded') as embedded,
    count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'not_an_image') as not_an_image,
    count(*) filter (where status = 'pending') as pending,
    sum(size_bytes)::bigint as size_bytes,
    median(width_px) as median_width_px,
    median(height_px) as median_height_px,
    max(last_modified) as newest_at
from current_images
group by folder
