-- The cached scores of what the sources hold now: one column per concept, 0 to 1, higher fits the concept better.
-- Grain: one row per embedded image. Parameters: none.
create view scores as
select score_rows.* exclude (run_id)
from score_rows
semi join current_objects using (image_id)
anti join superseded using (image_id, run_id)
