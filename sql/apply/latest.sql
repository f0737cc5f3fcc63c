-- The last thing that the journal says of each key.
-- Grain: one row per key. Parameters: none. Reads the table `journal`.
create or replace table latest as
select *
from journal
qualify row_number() over (partition by key order by seq desc) = 1
