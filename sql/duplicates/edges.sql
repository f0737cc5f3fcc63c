-- Pairs that may count as duplicates, the better-ranked image of each first. A pair may count where both images are
-- ranked, the worse one may be removed, and the groups are as they should be: 'any', the 'same', or 'different' ones;
-- an image without a group is in none. Pairs from 0.99 on are among them whatever the threshold: images of the same
-- content count at any, a device may make a little less than 1 of it, and never that much less. Two images may be of
-- the same content (1, else 0) only if they have as many pixels, or it is not known how many (-1).
-- Grain: one row per pair, in any order. Parameters: $at, the threshold; $groups.
-- Reads the views `standing`, which is `ranked` where there are no crowds, and `pair_rows`.
select
    least(a.place, b.place)::integer as better,
    greatest(a.place, b.place)::integer as worse,
    pairs.cosine,
    (
        pairs.cosine >= 0.99::float
        and (a._pixels = b._pixels or least(a._pixels, b._pixels) = -1)
    )::tinyint as may_be_same
from pair_rows as pairs
inner join standing as a on pairs.image_id = a.image_id
inner join standing as b on pairs.neighbor_id = b.image_id
where
    pairs.cosine >= least($at::float, 0.99::float)
    and not (a.never and b.never)
    and case $groups
        when 'same' then a.group_name = b.group_name
        when 'different' then a.group_name != b.group_name
        else true
    end
