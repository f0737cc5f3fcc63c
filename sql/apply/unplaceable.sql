-- What keeps a copy from being made at all: two images for one key, a key that is empty or longer than S3 takes (1,024
-- bytes of UTF-8), an image outside the run's sources, no image of a bucket, or one that was imported without the etag
-- and the size that would tell whether the object still is the one that was judged.
-- Grain: one row per kind of problem, with the number of keys and an example. Parameters: $prefix.
with doubled as (
    select hash(to_key) as key_hash -- eight bytes, so that millions of keys are compared in memory
    from planned
    group by key_hash
    having count(*) > 1
),

suspects as (
    select *
    from planned
    where
        bucket is null
        or etag is null
        or size_bytes is null
        or to_key is null
        or to_key = $prefix
        or strlen(to_key) > 1024
        or hash(to_key) in (select key_hash from doubled)
),

targets as (
    select
        to_key,
        count(*) as images,
        min(uri) as uri,
        max(uri) as other_uri,
        bool_or(bucket is null) as no_bucket,
        bool_or(etag is null or size_bytes is null) as is_unknown
    from suspects
    group by to_key
),

problems as (
    select
        *,
        case
            when no_bucket then 'no_bucket'
            when is_unknown then 'unknown'
            when to_key is null then 'outside'
            when to_key = $prefix then 'empty'
            when strlen(to_key) > 1024 then 'too_long'
            when images > 1 then 'collision'
        end as problem
    from targets
)

select
    problem,
    count(*) as found,
    coalesce(arg_min(uri, to_key), min(uri)) as uri,
    coalesce(arg_min(other_uri, to_key), max(uri)) as other_uri,
    min(to_key) as to_key
from problems
where problem is not null
group by problem
order by problem
