-- Pairs of the same content, the better-ranked image of each first: every image with the best of those that it may be
-- compared with, which are all the same to it.
-- Grain: one row per pair, in any order. Parameters: $groups, as in duplicates/edges. Reads the table `ranked`,
-- whose rows are in order.
with bests as (
    select
        content,
        group_name,
        min(rowid) as place
    from ranked
    group by
        content,
        group_name
)

select
    min(bests.place)::integer as better,
    ranked.rowid::integer as worse,
    1::float as cosine
from ranked
inner join bests
    on
        ranked.content = bests.content
        and ranked.rowid > bests.place
where
    not ranked.never
    and case $groups
        when 'same' then ranked.group_name = bests.group_name
        when 'different' then ranked.group_name != bests.group_name
        else true
    end
group by ranked.rowid
