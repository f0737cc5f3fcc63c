-- The object whose key or URI is most like a word that means none.
-- Grain: one row, or none where nothing is listed. Parameters: $word.
select uri
from current_objects
order by
    greatest(jaro_winkler_similarity(key, $word), jaro_winkler_similarity(uri, $word)) desc,
    uri asc
limit 1
