-- What is said of an image can be true: no size is negative, no side is zero, and a bucket stands exactly where the URI
-- is one of S3. Sizes, sides and times may be unknown, since an import may not say them.
-- Grain: one row per image that breaks this. Parameters: none.
select
    image_id,
    uri
from images
where
    size_bytes < 0
    or width_px <= 0
    or height_px <= 0
    or (bucket is not null) != starts_with(uri, 's3://')
