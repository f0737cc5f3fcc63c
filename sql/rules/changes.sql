-- How many images change from which side to which, and by which rules; null where no rule decides.
-- Grain: one row per pair of sides and rules. Parameters: none. Reads the table `changed`.
select
    was,
    was_by,
    becomes,
    becomes_by,
    count(*) as images
from changed
group by all
order by images desc, was asc, was_by asc, becomes asc, becomes_by asc
