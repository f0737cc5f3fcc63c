-- Which objects, or versions of objects, at the destination apply has made: by the version that was recorded, or by a
-- size and a time within the span in which a copy was under way. `certain` where the etag says so as well; else the
-- bytes must be compared with `sha256`. ('null' is the version of whatever was written without versions.)
-- Grain: one row per object or version. Parameters: none. Reads the tables `present` and `spans`.
create or replace table ours as
select
    present.key,
    present.version_id,
    present.etag,
    present.size_bytes,
    present.last_modified,
    bool_or(
        coalesce(present.version_id = spans.version_id and spans.version_id != 'null', false)
        or present.etag = spans.source_etag
        or coalesce(present.etag = spans.etag, false)
    ) as certain,
    any_value(spans.sha256) as sha256
from present
inner join spans on present.key = spans.key and present.size_bytes = spans.size_bytes
where
    coalesce(present.version_id = spans.version_id and spans.version_id != 'null', false)
    or present.last_modified between spans.since and spans.ended
    -- Some services give a copy the time of its source.
    or (
        present.etag = spans.etag
        and abs(date_diff('second', present.last_modified, spans.last_modified)) <= 3
    )
group by all
