-- An image's id is what its URI and revision say, in parts and listings alike.
-- Grain: one row per image or object that breaks this. Parameters: none.
with rows_with_ids as (
    select
        image_id,
        uri,
        revision
    from images
    union all
    select
        image_id,
        uri,
        revision
    from current_objects
)

select
    image_id,
    uri
from rows_with_ids
where image_id != sha256(uri || chr(10) || revision)[1:32]::uuid
