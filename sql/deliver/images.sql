-- The manifest of one decision, in the order of URIs.
-- Grain: one row per image with that decision. Parameters: $decision, 'remove' or 'keep'.
select
    c.uri,
    c.bucket,
    c.key,
    c.version_id,
    c.etag,
    c.size_bytes,
    c.last_modified,
    c.sha256,
    c.width_px,
    c.height_px,
    c.format,
    scores.* exclude (image_id, uri),
    decisions.rule
from decisions
inner join current_images as c using (image_id)
left join scores using (image_id)
where decisions.decision = $decision
order by c.uri
