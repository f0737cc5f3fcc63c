-- The manifest of what could not be decided, and why.
-- Grain: one row per object, in the order of URIs. Parameters: none. Reads the table `undecided`, which is in that
-- order.
select *
from undecided
