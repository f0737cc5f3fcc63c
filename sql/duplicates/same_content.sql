-- Pairs of the same bytes or the same decoded pixels. Only pairs from 0.99 on are looked at: a device may make a little
-- less than 1 of the same content, and never that much less.
-- Grain: one row per pair. Parameters: none. Reads the view `pair_rows`.
create or replace temp table same_content as
with near as (
    select
        image_id,
        neighbor_id
    from pair_rows
    where cosine >= 0.99::float
),

near_images as (
    select image_id
    from near
    union all
    select neighbor_id
    from near
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
    near.image_id,
    near.neighbor_id,
    coalesce(a.sha256 = b.sha256, false) as same_bytes,
    coalesce(a.content_id = b.content_id, false) as at_one
from near
inner join facts as a on near.image_id = a.image_id
inner join facts as b on near.neighbor_id = b.image_id
where a.sha256 = b.sha256 or a.pixels_sha256 = b.pixels_sha256
