-- Pairs of images that are close, of what the sources hold now: each pair once, image_id < neighbor_id.
-- Grain: one row per pair. Parameters: none.
create view neighbors as
select
    neighbor_rows.image_id,
    neighbor_rows.neighbor_id,
    neighbor_rows.cosine
from neighbor_rows
semi join current_objects using (image_id)
semi join current_objects as others on neighbor_rows.neighbor_id = others.image_id
