-- Where each kept image goes: below the destination's prefix, under its key without the prefix of its source, or with
-- $whole_keys under its bucket and whole key.
-- Grain: one row per kept image, numbered in the manifest's order. Parameters: $sources (URIs, the longest first),
-- $prefix (of the destination's keys), $whole_keys. Reads the view `kept`.
create or replace table planned as
with placed as (
    select
        uri,
        bucket,
        key,
        etag,
        size_bytes::bigint as size_bytes,
        sha256,
        list_filter($sources, lambda s: starts_with(uri, s))[1] as source_uri
    from kept
)

select
    row_number() over () as place,
    * exclude (source_uri),
    $prefix || case
        when $whole_keys then bucket || '/' || key
        else substring(uri, length(source_uri) + 1)
    end as to_key
from placed
