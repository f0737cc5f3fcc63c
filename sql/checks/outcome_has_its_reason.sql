-- An embedding stands exactly where the status is 'embedded', an error code exactly where it is 'failed'.
-- Grain: one row per image that breaks this. Parameters: none.
select
    uri,
    status,
    error_code
from images
where
    (status = 'embedded') != (embedding is not null)
    or (status = 'failed') != (error_code is not null)
    or status not in ('embedded', 'failed', 'not_an_image')
