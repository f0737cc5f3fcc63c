-- What each rule decides as the first that holds, and how many images it holds for at all.
-- Grain: one row per rule. Parameters: none. Reads `patterns` (one row per pattern: holds, a list with true where the
-- rule of that number holds, and how many images have it) and `rules` (number, rule, action, reason).
with held as (
    select
        images,
        list_position(holds, true) as first_rule,
        unnest(holds) as holds,
        generate_subscripts(holds, 1) as number
    from patterns
)

select
    rules.number,
    rules.rule,
    rules.action,
    rules.reason,
    coalesce(sum(held.images) filter (held.first_rule = held.number), 0)::bigint as decides,
    coalesce(sum(held.images) filter (held.holds), 0)::bigint as holds_for
from rules
left join held using (number)
group by rules.number, rules.rule, rules.action, rules.reason
order by rules.number
