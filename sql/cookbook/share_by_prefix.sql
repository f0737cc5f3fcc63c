-- Which share of each prefix a threshold would remove; a prefix is the first folders of the key.
-- Grain: one row per prefix. Parameters: $concept (people), $threshold (0.5), $depth (1), folders in a prefix.
select
    array_to_string(list_slice(string_split(images.folder, '/'), 1, $depth), '/') as key_prefix,
    count(*) as embedded,
    count(*) filter (where scored.score >= $threshold::float) as removed,
    round(removed / embedded, 4) as removed_share
from current_images as images
inner join score_values as scored using (image_id)
where scored.concept = $concept
group by key_prefix
order by key_prefix
