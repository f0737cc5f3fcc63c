-- What became of one image, and its embedding, which means nothing unless the status is 'embedded'.
-- Grain: one row, or none where no run has read the image. Parameters: $image_id.
select
    status,
    error_code,
    embedding
from image_rows
anti join superseded using (image_id, run_id)
where image_id = $image_id::uuid
order by run_id
limit 1
