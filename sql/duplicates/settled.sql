-- The ranking with its ties settled: images that are the same in all that was sorted by come by their URIs.
-- Grain: one row per image, in the order of the ranking. Parameters: none. Reads the table `ranked` and the view `tied`
-- (place, and the first place of those that it is tied with).
create or replace temp table ranked as
with named as (
    select
        tied.place,
        tied.first_place,
        current_objects.uri
    from tied
    inner join ranked on tied.place = ranked.rowid
    inner join current_objects using (image_id)
)

select ranked.*
from ranked
left join named on ranked.rowid = named.place
order by
    coalesce(named.first_place, ranked.rowid) asc,
    named.uri asc,
    ranked.image_id asc
