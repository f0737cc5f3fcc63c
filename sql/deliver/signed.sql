-- The rows of a manifest with a URL for each object of a bucket that lets anybody read it, and when that ends. They
-- stay in their order.
-- Grain: one row per row of the table `unsigned`. Parameters: $until. The function `presign` is that of
-- query/deliver/links.py.
create or replace temp table signed as
select
    *,
    presign(bucket, key) as presigned_url,
    case when bucket is not null then $until::timestamptz end as presigned_until
from unsigned
