-- What detectors have looked for in what the sources hold now.
-- Grain: one row per detector and label. Parameters: none.
select
    detector,
    label,
    count(*) filter (where status = 'measured') as images,
    count(*) filter (where status = 'failed') as failed,
    max(measured_at) as last_at
from measurements
group by detector, label
order by detector, label
