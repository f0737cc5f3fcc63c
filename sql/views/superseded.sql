-- Rows that another row of the same image replaces: a retry that succeeded, or a second worker's copy.
-- Grain: one row per (image, run) that no longer counts. Parameters: none.
create temp table superseded as
with repeated as (
    select image_id
    from image_rows
    group by image_id
    having count(*) > 1
),

ranked as (
    select
        image_id,
        run_id,
        row_number() over (
            partition by image_id
            order by status = 'failed', embedded_at desc, run_id desc
        ) as place
    from image_rows
    semi join repeated using (image_id)
)

select
    image_id,
    run_id
from ranked
where place > 1
