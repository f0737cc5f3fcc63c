-- What a rule may ask about: an image's metadata and its scores, under the names that `clipsieve sql` shows.
-- Grain: one row per embedded image of the newest listings. Parameters: none.
create view candidates as
select
    current_images.*,
    scores.* exclude (image_id, uri)
from current_images
left join scores using (image_id)
where current_images.status = 'embedded'
