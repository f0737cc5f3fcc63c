-- Every step that was ever noted for one root, in order.
-- Grain: one row per step. Parameters: none. Reads the table `journal`.
select
    kind,
    path,
    to_path,
    size_bytes,
    mtime_ns,
    mode,
    sha256
from journal
order by seq
