-- What a list says beside its URIs: its other columns, each under its own name, where the source was a list.
-- Of several rows for one image the one of the newest run counts; what only another list says is null then.
-- Grain: one row per image that a list has named. Parameters: none.
create view metadata as
select *
from metadata_rows
qualify row_number() over (partition by image_id order by run_id desc) = 1
