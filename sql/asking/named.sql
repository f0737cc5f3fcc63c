-- The objects that a word means: by URI, by key, or by image_id.
-- Grain: one row per object of the newest listings. Parameters: $word.
select
    image_id,
    uri,
    revision
from current_objects
where
    uri = $word
    or key = $word
    or image_id = try_cast($word as uuid)
order by uri
