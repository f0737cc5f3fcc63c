-- The scores in long form, so that a concept can be a value: chosen by a parameter, compared with another one, listed.
-- Grain: one row per embedded image and concept. Parameters: none.
create view score_values as
with scored as (
    -- Where nothing is scored there would be no column to turn; this one is null, and nulls make no row.
    select
        scores.*,
        null::float as _nothing
    from scores
)

unpivot scored
on columns(* exclude (image_id, uri))
into name concept value score
