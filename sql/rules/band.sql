-- The images whose score is uncertain, those nearest to the middle of the band first; both ends belong to it.
-- Grain: one row per embedded image of the newest listings in the band. Parameters: $low, $high.
-- Reads the view `one_score` (one row per embedded image: image_id, score).
select
    c.image_id,
    c.source,
    c.uri,
    c.bucket,
    c.key,
    c.etag,
    c.revision,
    c.size_bytes,
    c.last_modified,
    c.width_px,
    c.height_px,
    c.format,
    c.mode,
    c.exif_orientation,
    s.score
from one_score as s
inner join current_images as c using (image_id)
where s.score between $low::float and $high::float
order by abs(s.score - ($low + $high) / 2) asc, c.uri asc
