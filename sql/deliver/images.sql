-- The manifest of one decision: where the image lies, what it is, its scores, and what decided it.
-- Grain: one row per image with that decision, in the order of URIs. Parameters: $decision ('remove', 'keep' or
-- 'quarantine'); by a rule's number $rules, $reasons and $quarantines; by a fact's number $attributes, $operators and
-- $thresholds. Reads the table `manifest`, which is in that order; a join would lose it.
select
    manifest.* exclude (rule_number, fact, score, group_name, decision),
    list_extract($rules::varchar[], rule_number) as rule,
    list_extract($reasons::varchar[], rule_number) as reason,
    list_extract($attributes::varchar[], fact) as attribute,
    score,
    list_extract($operators::varchar[], fact) as operator,
    list_extract($thresholds::double[], fact) as threshold,
    group_name,
    list_extract($quarantines::varchar[], rule_number) as quarantine
from manifest
where decision = $decision
