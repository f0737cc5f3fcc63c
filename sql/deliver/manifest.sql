-- The embedded images of one range of URIs, in their order, with what a manifest says of each. What decided stands here
-- by its numbers: sorting moves every byte of a row.
-- Grain: one row per embedded image of the range. Parameters: $low (the first URI), $high (the first one beyond). Reads
-- `decided` (one row per image that a rule decides: image_id, rule_number, fact, score, group_name, duplicate_of) and
-- `rules`.
create or replace temp table manifest as
with objects as (
    select * from current_objects
    where uri >= $low and uri < $high
),

-- An image's id is made of its URI, so what belongs to the range lies within it; saying so spares reading the rest.
embedded as (
    select * from images
    where uri >= $low and uri < $high and status = 'embedded'
),

-- The view `scores` would ask again which images are listed.
scored as (
    select score_rows.* exclude (uri, run_id)
    from score_rows
    anti join superseded using (image_id, run_id)
    where uri >= $low and uri < $high
),

-- Of ten million decisions a range has a few; asking for them first spares a hash table of all, for every range.
decided_here as (
    select decided.*
    from decided
    semi join objects using (image_id)
)

select
    o.uri,
    o.bucket,
    o.key,
    embedded.version_id,
    o.etag,
    case when o.etag is null then o.revision end as revision, -- of a file; of an object, the etag says it
    o.size_bytes,
    o.last_modified,
    embedded.sha256,
    embedded.width_px,
    embedded.height_px,
    embedded.format,
    scored.* exclude (image_id),
    decided_here.rule_number,
    decided_here.fact,
    decided_here.score,
    decided_here.group_name,
    decided_here.duplicate_of,
    coalesce(rules.decision, 'keep') as decision
from objects as o
inner join embedded using (image_id)
left join scored using (image_id)
left join decided_here using (image_id)
left join rules on decided_here.rule_number = rules.number
order by o.uri
