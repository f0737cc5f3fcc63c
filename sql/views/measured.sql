-- The answers of detectors as columns: kind and label, such as `owlv2_person`, each the highest confidence, 0 to 1.
-- Null means that the detector has not looked, or failed. A column is of one detector: of its kind the one that looked
-- last for this label, so that answers of two models never stand in one column.
-- Grain: one row per image with a row in `measurements`. Parameters: none.
create temp table measured as
with newest as (
    select
        label,
        split_part(detector, '-', 1) as kind,
        arg_max(detector, measured_at) as detector
    from measurements
    group by all
),

answers as (
    select
        measurements.image_id,
        measurements.confidence,
        newest.kind || '_' || label as question
    from measurements
    inner join newest using (detector, label)
)

pivot answers
on question
using max(confidence)
group by image_id
