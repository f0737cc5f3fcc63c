-- Copies that were made, but not recorded, because the process ended before it could; `unsettled` ones by their bytes.
-- Grain: one row per copy. Parameters: none. Reads the tables `states`, `planned` and `ours`.
select
    planned.to_key,
    planned.uri,
    planned.etag as source_etag,
    planned.size_bytes,
    planned.sha256,
    states.state,
    ours.etag,
    ours.last_modified,
    ours.version_id
from states
inner join planned using (place)
inner join ours on planned.to_key = ours.key
where states.state = 'unsettled' or (states.state = 'copied' and states.last_outcome != 'copied')
order by place
