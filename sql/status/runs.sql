-- The embed runs that wrote something, the newest last.
-- Grain: one row per run. Parameters: none.
select
    run_id,
    count(*) as images,
    min(embedded_at) as first_at,
    max(embedded_at) as last_at
from image_rows
group by run_id
order by run_id
