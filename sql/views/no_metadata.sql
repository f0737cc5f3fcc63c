-- Stands for the view `metadata` where no source was a list: DuckDB leaves a join with nothing out of every query.
-- Grain: one row per image that a list has named; there is none. Parameters: none.
create view metadata as
select * from metadata_rows
where false
