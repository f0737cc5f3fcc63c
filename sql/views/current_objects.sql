-- What the sources hold now, by their newest listings. Where sources overlap, the newest listing that covers an
-- object decides, so an object that was replaced or deleted since an older, wider listing does not count twice; and so
-- does the newest list that names it.
-- Grain: one row per object. Parameters: none.
create view current_objects as
select listing_rows.*
from listing_rows
anti join covered
    on
        listing_rows.source = covered.source
        and listing_rows.run_id = covered.run_id
        and starts_with(listing_rows.uri, covered.newer_source)
anti join relisted
    on
        listing_rows.source = relisted.source
        and listing_rows.run_id = relisted.run_id
        and listing_rows.uri = relisted.uri
