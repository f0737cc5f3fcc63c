-- Stands for the table `relisted` where that holds no row: DuckDB leaves a join with nothing out of every query.
-- Grain: one row per object of an older listing; there is none. Parameters: none.
create view relisted as
select
    source,
    run_id,
    uri
from listing_rows
where false
