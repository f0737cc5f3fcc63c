-- What kinds of files there are: format and mode, with their number and size.
-- Grain: one row per format and mode, the most frequent first. Parameters: none.
select
    format,
    mode,
    count(*) as images,
    sum(size_bytes)::bigint as size_bytes,
    round(avg(size_bytes))::bigint as mean_size_bytes
from current_images
where format is not null
group by format, mode
order by images desc, format asc, mode asc
