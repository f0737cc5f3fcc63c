-- Images far from square: banners, strips, scans of receipts. CLIP looks at the middle of such an image only.
-- Grain: one row per image, the longest shape first. Parameters: $ratio (3.0), the least long side over short side,
-- $rows (20).
select
    round(greatest(width_px, height_px) / least(width_px, height_px), 2) as ratio,
    width_px,
    height_px,
    uri
from current_images
where
    status = 'embedded'
    and greatest(width_px, height_px) >= $ratio * least(width_px, height_px)
order by greatest(width_px, height_px) / least(width_px, height_px) desc, uri asc
limit $rows
