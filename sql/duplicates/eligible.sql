-- What takes part where a policy's rule looks for duplicates: the images that no other rule removes or quarantines. It
-- never removes what a rule above it keeps, nor what is kept already for duplicates that a rule above it removes.
-- Grain: one row per image. Parameters: $number, of the rule. Reads `held_for` (one row per image: image_id, and the
-- rule_number of the first other rule that holds), `keepers` (image_id) and `rules` (number, decision).
create or replace temp table eligible as
select
    held_for.image_id,
    coalesce(held_for.rule_number < $number, false) or held_for.image_id in (from keepers) as never_removed
from held_for
left join rules on held_for.rule_number = rules.number
where coalesce(rules.decision, 'keep') = 'keep'
