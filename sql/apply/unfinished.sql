-- Uploads in parts that were begun and neither finished nor given up.
-- Grain: one row per upload. Parameters: none. Reads the table `journal`.
select
    uploads.key,
    uploads.upload_id
from journal as uploads
where
    uploads.outcome = 'uploading'
    and not exists (
        select 1
        from journal as later
        where later.key = uploads.key and later.seq > uploads.seq
    )
order by uploads.key
