-- Rows that another run's row of the same image replaces: a retry that succeeded, or a second worker's copy.
-- Grain: one row per (image, run) that no longer counts. Parameters: none.
create temp table superseded as
with repeated as (
    select image_id
    from image_rows
    where (select count(distinct every.run_id) > 1 from image_rows as every) -- else no id need be read
    group by image_id
    having count(*) > 1
),

-- One row per run, so that an image twice in one run stays twice and `checks/one_outcome` can tell.
per_run as (
    select
        image_id,
        run_id,
        bool_and(status = 'failed') as failed,
        max(embedded_at) as last_at
    from image_rows
    semi join repeated using (image_id)
    group by image_id, run_id
),

ranked as (
    select
        image_id,
        run_id,
        row_number() over (
            partition by image_id
            order by failed asc, last_at desc, run_id desc
        ) as place
    from per_run
)

select
    image_id,
    run_id
from ranked
where place > 1
