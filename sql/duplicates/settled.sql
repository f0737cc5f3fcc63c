-- The ranking with its ties settled: images that are the same in all that was sorted by come by their URIs.
-- Grain: one row per image, in the order of the ranking. Parameters: none. Reads the table `in_order` and the view
-- `tied` (place, and the first place of those that it is tied with).
create or replace temp table in_order as
with named as (
    select
        tied.place,
        tied.first_place,
        current_objects.uri
    from tied
    inner join in_order on tied.place = in_order.rowid
    inner join current_objects using (image_id)
)

select in_order.*
from in_order
left join named on in_order.rowid = named.place
order by
    coalesce(named.first_place, in_order.rowid) asc,
    named.uri asc,
    in_order.image_id asc
