-- How alike every two concepts judge the images: 1 where they always agree, 0 where they have nothing to do with each
-- other, -1 where one says the contrary of the other.
-- Grain: one row per pair of concepts, the closest pair first. Parameters: none.
select
    one.concept,
    other.concept as other_concept,
    count(*) as images,
    round(corr(one.score, other.score), 4) as pearson
from score_values as one
inner join score_values as other
    on
        one.image_id = other.image_id
        and one.concept < other.concept
group by one.concept, other.concept
order by abs(pearson) desc, one.concept asc, other.concept asc
