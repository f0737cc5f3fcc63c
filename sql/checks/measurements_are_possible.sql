-- A confidence stands exactly where a detector has looked, a reason exactly where it failed; boxes lie in the image and
-- are no surer than the answer.
-- Grain: one row per measurement that breaks this. Parameters: none.
select
    image_id,
    detector,
    label
from measurements
where
    (status = 'measured') != (confidence is not null)
    or (status = 'failed') != (error_code is not null)
    or status not in ('measured', 'failed')
    or confidence not between 0 and 1
    or not list_bool_and(list_transform(
        boxes,
        lambda box: 0 <= box.x0
        and box.x0 <= box.x1
        and box.x1 <= 1
        and 0 <= box.y0
        and box.y0 <= box.y1
        and box.y1 <= 1
        and box.confidence between 0 and confidence
    ))
