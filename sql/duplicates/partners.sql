-- What is removed as a duplicate, of which kept image, and how alike the two are. The tier says how it is known: the
-- same bytes, the same pixels once decoded and turned upright, or near by embedding.
-- Grain: one row per removed image. Parameters: none. Reads the table `ranked` and the view `removed_places` (place,
-- partner, cosine).
create or replace temp table duplicates as
select
    gone.image_id,
    kept.image_id as duplicate_of,
    removed_places.cosine,
    case
        when gone.sha256 = kept.sha256 then 'same bytes'
        when gone.pixels_sha256 = kept.pixels_sha256 then 'same pixels'
        else 'near-duplicate'
    end as tier
from removed_places
inner join ranked as gone on removed_places.place = gone.place
inner join ranked as kept on removed_places.partner = kept.place
