-- What a rule may ask about: an image's metadata, its scores, what detectors saw and what a list says of it, under the
-- names that `clipsieve sql` shows; a list's columns are called `list_…`.
-- Grain: one row per embedded image of the newest listings. Parameters: none.
create view candidates as
select
    current_images.*,
    scores.* exclude (image_id, uri),
    measured.* exclude (image_id),
    list_columns.* exclude (image_id)
from current_images
left join scores using (image_id)
left join measured using (image_id)
left join list_columns using (image_id)
where current_images.status = 'embedded'
