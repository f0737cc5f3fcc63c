-- Why objects could not be decided.
-- Grain: one row per reason, the most frequent first. Parameters: none.
select
    case
        when status = 'pending' then 'not read yet'
        when status = 'not_an_image' then 'no image'
        else error_code
    end as reason,
    count(*) as objects,
    min(uri) as example
from current_images
where status != 'embedded'
group by reason
order by objects desc, reason asc
