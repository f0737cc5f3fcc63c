-- The manifest of what could not be decided, and why.
-- Grain: one row per object, in the order of URIs. Parameters: $buckets and, in their order, $bases, to which a key is
-- added for its URL. Reads the table `undecided`, which is in that order.
select
    *,
    's3://' || bucket || '/' || key as s3_uri,
    list_extract($bases::varchar[], list_position($buckets::varchar[], bucket))
    || case
        when regexp_full_match(key, '[A-Za-z0-9/._~-]*') then key -- nearly every key, and the rest costs more
        else replace(url_encode(key), '%2F', '/')
    end as https_url
from undecided
