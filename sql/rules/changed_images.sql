-- The images that change sides, for each pair of sides and rules so many, by URI; the most frequent change comes first.
-- Grain: one row per image. Parameters: $examples. Reads the table `changed`.
with named as (
    select
        o.uri,
        changed.was,
        changed.was_by,
        changed.becomes,
        changed.becomes_by,
        count(*) over change as images,
        row_number() over (
            partition by changed.was, changed.was_by, changed.becomes, changed.becomes_by
            order by o.uri
        ) as place
    from changed
    inner join current_objects as o using (image_id)
    window change as (partition by changed.was, changed.was_by, changed.becomes, changed.becomes_by)
)

select
    uri,
    was,
    was_by,
    becomes,
    becomes_by
from named
where place <= $examples
order by images desc, was asc, was_by asc, becomes asc, becomes_by asc, uri asc
