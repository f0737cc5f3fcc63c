-- Which of a sample's pairs stand among the neighbors that were found.
-- Grain: one row per sampled pair that was found. Parameters: none. Reads the view `neighbor_rows` and the table
-- `sampled` (image_id, neighbor_id, and a number for each pair).
select sampled.number
from sampled
semi join neighbor_rows using (image_id, neighbor_id)
