-- What a report says of some images: where each lies, what became of it, and the values that the policy compares.
-- Grain: one row per image. Parameters: $image_ids, a list of UUIDs. Reads the view `compared_values` (one row per
-- embedded image: image_id, and those values), `decided` and `rules`.
select
    o.uri,
    coalesce(rules.action, 'keep') as becomes,
    rules.rule,
    compared_values.*
from current_objects as o
inner join compared_values using (image_id)
left join decided using (image_id)
left join rules on decided.rule_number = rules.number
where o.image_id in (select unnest($image_ids::uuid[]))
