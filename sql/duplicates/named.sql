-- The duplicates, each with the URI of the image that is kept for it.
-- Grain: one row per removed image. Parameters: none. Reads the table `duplicates`.
select
    duplicates.image_id,
    duplicates.duplicate_of as duplicate_of_id,
    kept.uri as duplicate_of,
    duplicates.cosine
from duplicates
inner join current_objects as kept on duplicates.duplicate_of = kept.image_id
