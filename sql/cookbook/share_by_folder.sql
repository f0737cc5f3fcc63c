-- Which share of each folder a threshold would remove, the largest share first; small folders are left out.
-- Grain: one row per folder. Parameters: $concept (people), $threshold (0.5), $min_images (1), the fewest embedded
-- images that a folder must have, $rows (20).
select
    images.folder,
    count(*) as embedded,
    count(*) filter (where scored.score >= $threshold::float) as removed,
    round(removed / embedded, 4) as removed_share
from current_images as images
inner join score_values as scored using (image_id)
where scored.concept = $concept
group by images.folder
having count(*) >= $min_images
order by removed_share desc, embedded desc, images.folder asc
limit $rows
