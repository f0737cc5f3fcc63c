-- What goes from a source's folder, and to which folder beside it: what a rule removes to `_dropped`, what is
-- quarantined to a folder of its label's name. Paths are below the source's root, percent-encoded as in URIs.
-- Grain: one row per image. Parameters: $source (a file URI that ends in `/`). Reads the views `removed` and
-- `quarantined`.
with gone as (
    select
        uri,
        size_bytes,
        last_modified,
        revision,
        '_dropped' as folder
    from removed
    union all
    select
        uri,
        size_bytes,
        last_modified,
        revision,
        '_' || quarantine as folder
    from quarantined
)

select
    substring(uri, length($source) + 1) as below,
    folder,
    size_bytes::bigint as size_bytes,
    last_modified::timestamptz as last_modified,
    revision
from gone
where starts_with(uri, $source)
order by uri
