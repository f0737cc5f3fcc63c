-- How each planned copy stands: what lies at its key now, and where nothing does, what came of it when it was tried.
-- Grain: one row per kept image, by its place in `planned`. Parameters: none. Reads the tables `planned`, `present`,
-- `ours` and `latest`.
create or replace table states as
select
    planned.place,
    planned.size_bytes,
    latest.outcome as last_outcome,
    latest.detail,
    present.key is null as is_missing,
    case
        when ours.certain then 'copied'
        when ours.key is not null and coalesce(latest.outcome != 'occupied', true) then 'unsettled'
        when present.etag = planned.etag and present.size_bytes = planned.size_bytes then 'already_there'
        when present.key is not null then 'occupied'
        when latest.outcome in ('changed', 'vanished', 'forbidden', 'failed') then latest.outcome
        when latest.outcome = 'copied' then 'missing'
        else 'to_copy'
    end as state
from planned
left join present on planned.to_key = present.key
left join ours on planned.to_key = ours.key
left join latest on planned.to_key = latest.key
