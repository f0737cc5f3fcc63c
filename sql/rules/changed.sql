-- The images that change sides between two policies; what no rule decides is kept.
-- Grain: one row per image that changes sides. Parameters: none. Reads `before` and `after` (one row per image that a
-- rule of that policy decides: image_id, side, rule).
create or replace temp table changed as
select
    image_id,
    coalesce(before.side, 'keep') as was,
    before.rule as was_by,
    coalesce(after.side, 'keep') as becomes,
    after.rule as becomes_by
from before
full join after using (image_id)
where was != becomes
