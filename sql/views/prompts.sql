-- Cached text vectors, L2-normalised.
-- Grain: one row per text. Parameters: none.
create view prompts as
select
    text,
    any_value(vector) as vector
from prompt_rows
group by text
