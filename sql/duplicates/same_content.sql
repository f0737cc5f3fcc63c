-- Which of some pairs are of the same bytes or the same decoded pixels: their cosine is 1, whatever a device has made
-- of them. The tier: 0 the same bytes, 1 the same pixels once decoded and turned upright. Where the same bytes were
-- decoded otherwise at another time, the cosine stays.
-- Grain: one row per pair that is. Parameters: none. Reads the view `near_pairs` (number, image_id, neighbor_id,
-- cosine).
with near_images as (
    select image_id
    from near_pairs
    union all
    select neighbor_id
    from near_pairs
),

facts as (
    select
        image_id,
        sha256,
        pixels_sha256,
        coalesce(pixels_sha256, sha256) as content_id
    from images
    semi join near_images using (image_id)
)

select
    near_pairs.number,
    case when a.content_id = b.content_id then 1::float else near_pairs.cosine end as cosine,
    case when a.sha256 = b.sha256 then 0 else 1 end::tinyint as tier
from near_pairs
inner join facts as a on near_pairs.image_id = a.image_id
inner join facts as b on near_pairs.neighbor_id = b.image_id
where a.sha256 = b.sha256 or a.pixels_sha256 = b.pixels_sha256
