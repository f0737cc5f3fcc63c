-- Pairs within a crowd of what stands for it, the better one first: all are at a cosine of 1. Groups as in
-- duplicates/edges.
-- Grain: one row per pair, in any order. Parameters: $groups. Reads the table `crowd_parts`.
select
    a.place::integer as better,
    b.place::integer as worse
from crowd_parts as a
inner join crowd_parts as b
    on
        a.crowd_id = b.crowd_id
        and a.place < b.place
where
    a.stands
    and b.stands
    and case $groups
        when 'same' then a.group_name = b.group_name
        when 'different' then a.group_name != b.group_name
        else true
    end
