-- How many pairs may count as duplicates, as `duplicates/close_images` has them.
-- Grain: one row. Parameters: $at, the threshold. Reads the view `pair_rows`.
select count(*) as pairs
from pair_rows
where cosine >= least($at::float, 0.99::float)
