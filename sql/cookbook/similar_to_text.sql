-- The images nearest to a text whose vector the store holds; `clipsieve search` does the same, and encodes new texts.
-- Grain: one row per image, the nearest first. Parameters: $text, $rows (20).
select
    similarity(embedding, $text) as cosine,
    uri
from current_images
where status = 'embedded'
order by cosine desc, uri asc
limit $rows
