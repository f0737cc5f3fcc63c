-- What the sources hold now, by their newest listings. Where sources overlap, the newest listing that covers an
-- object decides, so an object that was replaced or deleted since an older, wider listing does not count twice.
-- Grain: one row per object. Parameters: none.
create view current_objects as
with sources as (
    select distinct
        source,
        run_id
    from listing_rows
)

select listing_rows.*
from listing_rows
where not exists (
    select 1
    from sources as later
    where
        later.run_id > listing_rows.run_id
        and starts_with(listing_rows.uri, later.source)
)
