-- How the store grew: the images that each run was the first to embed, and how many of these the sources still hold.
-- Grain: one row per run that embedded something new, the oldest first. Parameters: none.
with firsts as (
    select
        images.image_id,
        images.run_id,
        images.embedded_at,
        listed.image_id is not null as still_listed
    from images
    left join current_objects as listed using (image_id)
    where images.status = 'embedded'
)

select
    run_id,
    count(*) as added,
    count(*) filter (where still_listed) as still_listed,
    sum(count(*)) over (order by run_id)::bigint as embedded_so_far,
    max(embedded_at) as last_at
from firsts
group by run_id
order by run_id
