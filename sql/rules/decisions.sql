-- What becomes of everything the sources hold. Failed, unreadable and pending objects are errors and meet no rule; an
-- embedded image is removed by the first rule that holds (true = removed), and kept where none does.
-- Grain: one row per object of the newest listings. Parameters: none. Reads the view `matches` (one row per embedded
-- image: image_id, and the number of the first rule that holds or null) and the view `rules` (number, rule).
create or replace temp table decisions as
select
    c.image_id,
    c.uri,
    matches.rule_number,
    rules.rule,
    case
        when c.status != 'embedded' then 'error'
        when matches.rule_number is not null then 'remove'
        else 'keep'
    end as decision
from current_images as c
left join matches using (image_id)
left join rules on matches.rule_number = rules.number
