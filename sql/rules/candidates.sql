-- What a rule may ask about: an image's metadata, its scores and what detectors saw, under the names that
-- `clipsieve sql` shows.
-- Grain: one row per embedded image of the newest listings. Parameters: none.
create view candidates as
select
    current_images.*,
    scores.* exclude (image_id, uri),
    measured.* exclude (image_id)
from current_images
left join scores using (image_id)
left join measured using (image_id)
where current_images.status = 'embedded'
