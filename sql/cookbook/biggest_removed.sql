-- The biggest files among those that a threshold would remove.
-- Grain: one row per image, the biggest first. Parameters: $concept (people), $threshold (0.5), $rows (20).
select
    images.size_bytes,
    images.width_px,
    images.height_px,
    scored.score,
    images.uri
from current_images as images
inner join score_values as scored using (image_id)
where
    scored.concept = $concept
    and scored.score >= $threshold::float
order by images.size_bytes desc, images.uri asc
limit $rows
