-- The images that a rule decides, the furthest from its threshold first; where it rests on no number, in a fixed order
-- that means nothing.
-- Grain: one row per image, in that order. Parameters: $rule (its number), $images (so many). Reads `decided` and
-- `facts`.
select
    decided.image_id,
    decided.score
from decided
left join facts using (fact)
where decided.rule_number = $rule
order by
    abs(decided.score - facts.threshold) desc nulls last,
    hash(decided.image_id) asc,
    decided.image_id asc
limit $images
