-- What may be ours by size and time, while its etag does not tell: its bytes must be compared.
-- Grain: one row per object or version. Parameters: none. Reads the table `ours`.
select
    key,
    version_id,
    etag,
    size_bytes,
    last_modified,
    sha256
from ours
where not certain and sha256 is not null
order by key, version_id
