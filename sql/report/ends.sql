-- Between which ends nearly all values of a column lie: all but one in 200 on either side.
-- Grain: one row. Parameters: none. Reads the view `valued` (one row per embedded image, its column `value`).
select
    quantile_disc(value, 0.005) as low,
    quantile_disc(value, 0.995) as high
from valued
where isfinite(value)
