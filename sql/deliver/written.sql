-- What one range of URIs brings into the manifests: each object must be there once, under a URI of its own.
-- Grain: one row. Parameters: none. Reads the tables `manifest` and `undecided`.
with every_object as (
    select
        uri,
        null as status
    from manifest
    union all
    select
        uri,
        status
    from undecided
)

select
    count(distinct hash(uri)) as distinct_uris, -- of 64 bits, which cost less than the texts
    count(*) filter (where status = 'pending') as pending
from every_object
