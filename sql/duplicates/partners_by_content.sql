-- What is removed for its content, of which kept image. The tier says whether the bytes are the same, or the pixels
-- once decoded and turned upright.
-- Grain: one row per removed image. Parameters: none. Reads the table `ranked` with its hashes, and the view
-- `removed_places` (place, partner, cosine).
create or replace temp table duplicates as
select
    gone.image_id,
    kept.image_id as duplicate_of,
    removed_places.cosine,
    gone.size_bytes,
    case when gone.sha256 = kept.sha256 then 'same bytes' else 'same pixels' end as tier
from removed_places
inner join ranked as gone on removed_places.place = gone.rowid
inner join ranked as kept on removed_places.partner = kept.rowid
