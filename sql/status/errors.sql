-- Why images failed, the most frequent reason first.
-- Grain: one row per error code. Parameters: none.
select
    error_code,
    count(*) as images,
    min(uri) as example
from current_images
where status = 'failed'
group by error_code
order by images desc, error_code asc
