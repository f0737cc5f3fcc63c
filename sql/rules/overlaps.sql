-- How many images two rules both hold for; the upper one decides these, unless a third one stands above both.
-- Grain: one row per pair of rules with an image in common. Parameters: none. Reads `totals` (one row: the list
-- `both_hold`, with an entry per pair of rules) and `rules` (number, rule).
with pairs as (
    select unnest(both_hold, recursive := true)
    from totals
)

select
    pairs.upper_number,
    upper_rule.rule as upper_rule,
    pairs.lower_number,
    lower_rule.rule as lower_rule,
    pairs.images
from pairs
inner join rules as upper_rule on pairs.upper_number = upper_rule.number
inner join rules as lower_rule on pairs.lower_number = lower_rule.number
where pairs.images > 0
order by pairs.upper_number, pairs.lower_number
