-- Where images fail, and why.
-- Grain: one row per folder and error code, the most frequent first. Parameters: $rows (20).
select
    folder,
    error_code,
    count(*) as images,
    min(uri) as example
from current_images
where status = 'failed'
group by folder, error_code
order by images desc, folder asc, error_code asc
limit $rows
