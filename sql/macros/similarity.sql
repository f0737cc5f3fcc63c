-- `similarity(embedding, 'a text')`: the cosine of an image to a text whose vector the store holds, null where the
-- image has no embedding. A text that is not cached is an error, which names the nearest one that is.
-- Grain: one row in, one number from -1 to 1 out. Parameters: embedding, a list of D floats; cached_text.
create macro similarity(embedding, cached_text) as
case
    -- DuckDB 2.0 reads a missing list as one missing element, and list_inner_product refuses a whole vector of rows
    -- where it finds one; list_concat copies what this case has chosen out of it.
    when embedding[1] is not null then list_inner_product(
        list_concat(embedding, []),
        coalesce(
            (
                select cached.vector
                from prompts as cached
                where cached.text = cached_text
            ),
            error(
                'The text "' || cached_text || '" is not cached' || coalesce(
                    (
                        select '; the nearest one that is: "' || cached.text || '"'
                        from prompts as cached
                        order by jaro_winkler_similarity(cached.text, cached_text) desc, cached.text asc
                        limit 1
                    ),
                    ''
                ) || '. `clipsieve search STORE "' || cached_text || '"` caches it.'
            )
        )
    )
end
