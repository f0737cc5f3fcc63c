-- The images nearest to one that the sources hold, itself left out.
-- Grain: one row per image, the nearest first. Parameters: $uri, $rows (20).
select
    similarity_to_image(embedding, $uri) as cosine,
    uri
from current_images
where
    status = 'embedded'
    and uri != $uri
order by cosine desc, uri asc
limit $rows
