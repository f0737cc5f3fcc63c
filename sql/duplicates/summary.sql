-- How much goes in each tier.
-- Grain: one row per tier that removes something. Parameters: none. Reads the table `duplicates`.
select
    duplicates.tier,
    count(*) as removed,
    sum(current_images.size_bytes)::bigint as size_bytes
from duplicates
inner join current_images using (image_id)
group by duplicates.tier
order by array_position(['same bytes', 'same pixels', 'near-duplicate'], duplicates.tier)
