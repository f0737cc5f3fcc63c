-- Pairs that count as duplicates, the better-ranked image of each first. A pair counts where both images are ranked,
-- the worse one may be removed, and the groups are as they should be: 'any', the 'same', or 'different' ones; an image
-- without a group is in none. Images of the same content are at 1, whatever a device has made of them.
-- Grain: one row per pair, in any order. Parameters: $at, the threshold; $groups.
-- Reads the tables `ranked`, whose rows are in order, and `same_content`, and the view `pair_rows`.
with pairs as (
    select
        a.rowid as a_place,
        b.rowid as b_place,
        case when same_content.at_one then 1::float else pairs.cosine end as cosine
    from pair_rows as pairs
    inner join ranked as a on pairs.image_id = a.image_id
    inner join ranked as b on pairs.neighbor_id = b.image_id
    left join same_content
        on
            pairs.image_id = same_content.image_id
            and pairs.neighbor_id = same_content.neighbor_id
    where
        pairs.cosine >= least($at::float, 0.99::float)
        and not (a.never and b.never)
        and case $groups
            when 'same' then a.group_name = b.group_name
            when 'different' then a.group_name != b.group_name
            else true
        end
)

select
    least(a_place, b_place)::integer as better,
    greatest(a_place, b_place)::integer as worse,
    cosine
from pairs
where cosine >= $at::float
