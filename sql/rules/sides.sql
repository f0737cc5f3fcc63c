-- On which side each image stands that a rule decides: keep, remove, or a quarantine with its label.
-- Grain: one row per image that a rule decides. Parameters: none. Reads `decided` (image_id, rule_number) and `rules`.
select
    decided.image_id,
    rules.action as side,
    rules.rule
from decided
inner join rules on decided.rule_number = rules.number
