-- Stands for the table `measured` where no detector has looked: DuckDB leaves a join with nothing out of every query.
-- Grain: one row per image that a detector has looked at; there is none. Parameters: none.
create view measured as
select image_id
from measurement_rows
where false
