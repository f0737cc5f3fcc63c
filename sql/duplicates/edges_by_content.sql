-- Pairs of the same content, the better-ranked image of each first: every image with the best of those that it may be
-- compared with, which are all the same to it. The tier: 0 the same bytes, 1 the same pixels, once decoded and turned
-- upright.
-- Grain: one row per pair, in any order. Parameters: $groups, as in duplicates/edges. Reads the view `ranked` with its
-- hashes.
with bests as (
    select
        content,
        group_name,
        min(place) as place,
        arg_min_null(sha256, place) as sha256
    from ranked
    group by
        content,
        group_name
)

select
    min(bests.place)::integer as better,
    ranked.place::integer as worse,
    1::float as cosine,
    case when ranked.sha256 = arg_min_null(bests.sha256, bests.place) then 0 else 1 end::tinyint as tier
from ranked
inner join bests
    on
        ranked.content = bests.content
        and ranked.place > bests.place
where
    not ranked.never
    and case $groups
        when 'same' then ranked.group_name = bests.group_name
        when 'different' then ranked.group_name != bests.group_name
        else true
    end
group by
    ranked.place,
    ranked.sha256
