-- The rows whose embeddings are nearest to a vector, current or not: one pass over the embeddings and no join. Of these
-- `asking/found` keeps what counts; $rows is more than what is wanted, so that enough are left.
-- Grain: one row per image and run that embedded it. Parameters: $vector, D floats of length 1; $rows, how many.
create or replace temp table nearest as
select
    image_id,
    run_id,
    list_inner_product(embedding, $vector::float[]) as cosine
from image_rows
where status = 'embedded'
order by cosine desc, image_id asc
limit $rows
