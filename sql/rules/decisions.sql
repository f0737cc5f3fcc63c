-- What becomes of everything the sources hold, and why. Failed, unreadable and pending objects are errors and meet no
-- rule; an embedded image is decided by the first rule that holds, and kept where none does. `attribute`, `score`,
-- `operator` and `threshold` say what the rule rests on; of a quarantine, `score` is its group's.
-- Grain: one row per object of the newest listings. Parameters: none. Reads `decided` (one row per image that a rule
-- decides: image_id, rule_number, fact, score, group_name, duplicate_of), `rules` and `facts`.
create or replace temp view decisions as
select
    c.image_id,
    c.uri,
    decided.rule_number,
    rules.rule,
    rules.reason,
    facts.attribute,
    decided.score,
    facts.operator,
    facts.threshold,
    decided.group_name,
    rules.quarantine,
    decided.duplicate_of,
    case when decided.duplicate_of is not null then decided.score end as cosine,
    case when c.status = 'embedded' then coalesce(rules.decision, 'keep') else 'error' end as decision
from current_images as c
left join decided using (image_id)
left join rules on decided.rule_number = rules.number
left join facts using (fact)
