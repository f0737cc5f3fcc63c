-- The sum that must come out before a run is written.
-- Grain: one row. Parameters: none.
select
    count(*) filter (where decision = 'remove') as removed,
    count(*) filter (where decision = 'keep') as kept,
    count(*) filter (where decision = 'error') as errors,
    (
        select count(*)
        from current_images
        where status = 'pending'
    ) as pending,
    (select count(*) from current_objects) as listed,
    (select count(distinct uri) from current_objects) as distinct_uris
from decisions
