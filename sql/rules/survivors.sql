-- The groups of which fewer than $survivors_below images are left, kept or undecided, after the rules above have
-- removed at least one: a group that was small from the start stays. What is quarantined is neither left nor removed.
-- Grain: one row per group that the rule holds for. Parameters: $survivors_below, $fact. Reads `outcomes` (one row per
-- group and rule that decided first: group_name, rule_number, images) and `rules` (number, decision).
create or replace temp table flagged as
with counted as (
    select
        outcomes.group_name,
        coalesce(sum(outcomes.images) filter (coalesce(rules.decision, 'keep') = 'keep'), 0) as survivors,
        coalesce(sum(outcomes.images) filter (rules.decision = 'remove'), 0) as removed
    from outcomes
    left join rules on outcomes.rule_number = rules.number
    group by outcomes.group_name
)

select
    group_name,
    $fact::integer as fact,
    survivors::double as score
from counted
where
    survivors < $survivors_below
    and removed > 0
