-- What each rule decides as the first that holds, and how many images it holds for at all.
-- Grain: one row per rule. Parameters: none. Reads `totals` (one row: the lists `holds`, of images that the rule of
-- that number holds for, and `either`, of images that it or one above it holds for) and `rules` (number, rule, action,
-- reason).
select
    rules.number,
    rules.rule,
    rules.action,
    rules.reason,
    totals.either[rules.number] - coalesce(totals.either[rules.number - 1], 0) as decides,
    totals.holds[rules.number] as holds_for
from rules
cross join totals
order by rules.number
