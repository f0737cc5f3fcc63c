-- What is removed as a duplicate, of which kept image, and how alike the two are. The tier says how it is known: the
-- same bytes, the same pixels once decoded and turned upright, or near by embedding.
-- Grain: one row per removed image. Parameters: none. Reads the tables `ranked` and `same_content`, and the view
-- `removed_places` (place, partner, cosine).
create or replace temp table duplicates as
with same as (
    select
        image_id,
        neighbor_id,
        same_bytes
    from same_content
    union all
    select
        neighbor_id as image_id,
        image_id as neighbor_id,
        same_bytes
    from same_content
)

select
    gone.image_id,
    kept.image_id as duplicate_of,
    removed_places.cosine,
    gone.size_bytes,
    case
        when same.same_bytes then 'same bytes'
        when same.image_id is not null then 'same pixels'
        else 'near-duplicate'
    end as tier
from removed_places
inner join ranked as gone on removed_places.place = gone.rowid
inner join ranked as kept on removed_places.partner = kept.rowid
left join same
    on
        gone.image_id = same.image_id
        and kept.image_id = same.neighbor_id
