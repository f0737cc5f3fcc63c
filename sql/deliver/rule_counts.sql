-- How much each rule removed as the first rule that held.
-- Grain: one row per rule. Parameters: none.
select
    rules.number,
    rules.rule,
    count(decisions.image_id) as removed
from rules
left join decisions
    on rules.number = decisions.rule_number and decisions.decision = 'remove'
group by rules.number, rules.rule
order by rules.number
