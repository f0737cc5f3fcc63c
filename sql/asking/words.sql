-- Names that the interactive prompt can complete: every column that can be asked, and our macros.
-- Grain: one row per name. Parameters: none.
select distinct column_name as word
from duckdb_columns()
where not internal
union
select function_name as word
from duckdb_functions()
where not internal
order by word
