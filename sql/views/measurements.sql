-- What detectors saw on a second look, and where looking failed; `boxes` are relative to the upright image, 0 to 1.
-- Grain: one row per image of the newest listings, detector and label: a success before a failure, then the newest.
-- Parameters: none.
create view measurements as
select measurement_rows.*
from measurement_rows
semi join current_objects using (image_id)
qualify
    row_number() over (
        partition by image_id, detector, label
        order by status = 'failed' asc, measured_at desc, run_id desc
    ) = 1
