-- The folders of a source in which an image of the run stays: one that is kept, or that could not be decided.
-- Grain: one row per folder, percent-encoded and relative to the source's root. Parameters: $source (a file URI that
-- ends in `/`). Reads the views `kept` and `errors`.
with staying as (
    select uri
    from kept
    union all
    select uri
    from errors
),

paths as (
    select substring(uri, length($source) + 1) as below
    from staying
    where starts_with(uri, $source)
)

select distinct regexp_replace(below, '/?[^/]*$', '') as folder
from paths
order by folder
