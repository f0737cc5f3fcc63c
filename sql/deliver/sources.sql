-- The sources that were judged, by the newest listing of each; also one that holds nothing any more.
-- Grain: one row per source. Parameters: none.
select distinct source
from listing_rows
order by source
