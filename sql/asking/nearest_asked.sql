-- The same among some images only: those in the table `asked`, by the rows that count.
-- Grain: one row per image of `asked`. Parameters: $vector, D floats of length 1; $rows, how many.
create or replace temp table nearest as
select
    image_id,
    run_id,
    list_inner_product(embedding, $vector::float[]) as cosine
from image_rows
semi join asked using (image_id)
anti join superseded using (image_id, run_id)
where status = 'embedded'
order by cosine desc, image_id asc
limit $rows
