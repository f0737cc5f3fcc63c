-- Stands for the table `superseded` where that holds no row: DuckDB leaves a join with nothing out of every query.
-- Grain: one row per (image, run) that no longer counts; there is none. Parameters: none.
create view superseded as
select
    image_id,
    run_id
from image_rows
where false
