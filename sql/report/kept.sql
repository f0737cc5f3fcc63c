-- A sample of what is kept, the same for the same seed: the place where misses hide.
-- Grain: one row per image, in an order that means nothing. Parameters: $seed, $images (so many). Reads `held` (one row
-- per embedded image), `decided` and `rules`.
with gone as (
    select decided.image_id
    from decided
    inner join rules on decided.rule_number = rules.number
    where rules.decision != 'keep'
)

select held.image_id
from held
anti join gone using (image_id)
order by hash(held.image_id, $seed), held.image_id
limit $images
