-- Stands for the table `covered` where that holds no row: DuckDB leaves a join with nothing out of every query.
-- Grain: one row per listing and newer source; there is none. Parameters: none.
create view covered as
select
    source,
    run_id,
    source as newer_source
from listing_rows
where false
