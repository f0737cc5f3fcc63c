-- How much storage a threshold would free, and how much would stay.
-- Grain: one row. Parameters: $concept (people), $threshold (0.5).
select
    count(*) filter (where scored.score >= $threshold::float) as removed,
    count(*) filter (where scored.score < $threshold::float) as kept,
    coalesce(sum(images.size_bytes) filter (where scored.score >= $threshold::float), 0)::bigint as removed_bytes,
    coalesce(sum(images.size_bytes) filter (where scored.score < $threshold::float), 0)::bigint as kept_bytes,
    round(removed_bytes / nullif(removed_bytes + kept_bytes, 0), 4) as removed_bytes_share
from current_images as images
inner join score_values as scored using (image_id)
where scored.concept = $concept
