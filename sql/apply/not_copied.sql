-- What is to be looked at: kept images that are not at the destination as they should be.
-- Grain: one row per image. Parameters: none. Reads the tables `states` and `planned`.
select
    planned.uri,
    planned.to_key,
    states.state,
    states.detail,
    planned.size_bytes
from states
inner join planned using (place)
where states.state not in ('copied', 'already_there')
order by planned.uri
