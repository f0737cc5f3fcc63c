-- Stands for the view `metadata` where there is one file of it, which names no image twice: nothing need be sorted.
-- Grain: one row per image that a list has named. Parameters: none.
create view metadata as
select * from metadata_rows
