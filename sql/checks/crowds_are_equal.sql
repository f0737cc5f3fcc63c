-- A member of a crowd is an embedded image, stands once, in no pair and as no other's `member_of`, and its embedding is
-- that of the other members.
-- Grain: one row per image that breaks this. Parameters: none.
with members as (
    select
        crowds.image_id,
        crowds.member_of,
        images.status,
        images.embedding,
        count(*) over (partition by crowds.image_id) as times,
        first_value(images.embedding) over (partition by crowds.member_of order by crowds.image_id) as first_embedding
    from crowds
    left join images using (image_id)
),

paired as (
    select image_id
    from neighbors
    union all
    select neighbor_id
    from neighbors
    union all
    select member_of
    from crowds
)

select
    image_id,
    member_of
from members
where
    times > 1
    or status is distinct from 'embedded'
    or embedding is distinct from first_embedding
    or image_id in (from paired)
