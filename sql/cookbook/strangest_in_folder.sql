-- The images that are least like the other images of their folder: in a folder of one person, perhaps somebody else.
-- Grain: one row per image, the strangest first. Parameters: $folder, $rows (20).
with inside as (
    select
        uri,
        list_concat(embedding, []) as embedding
    from current_images
    where
        status = 'embedded'
        and folder = $folder
),

elements as (
    select
        generate_subscripts(embedding, 1) as place,
        unnest(embedding) as element
    from inside
),

totals as (
    select
        place,
        sum(element) as total
    from elements
    group by place
),

-- The mean of the cosines to the others is one product with the sum of all, less the image's own part in it.
summed as (
    select
        list(total order by place)::float[] as total,
        (select count(*) - 1 from inside) as other_images
    from totals
)

select
    (list_inner_product(inside.embedding, summed.total) - list_inner_product(inside.embedding, inside.embedding))
    / nullif(summed.other_images, 0) as mean_cosine,
    inside.uri
from inside
cross join summed
order by mean_cosine asc, inside.uri asc
limit $rows
