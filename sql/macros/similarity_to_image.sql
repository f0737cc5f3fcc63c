-- `similarity_to_image(embedding, 's3://bucket/key')`: the cosine of an image to another one of the store, null where
-- the first has no embedding. A URI that the sources do not hold, or that has no embedding, is an error.
-- Grain: one row in, one number from -1 to 1 out. Parameters: embedding, a list of D floats; image_uri.
create macro similarity_to_image(embedding, image_uri) as
case
    -- As in `similarity`.
    when embedding[1] is not null then list_inner_product(
        list_concat(embedding, []),
        coalesce(
            (
                select other.embedding
                from images as other
                where
                    other.status = 'embedded'
                    and other.image_id in (
                        select listed.image_id
                        from current_objects as listed
                        where listed.uri = image_uri
                    )
            ),
            error('The sources hold no embedded image "' || image_uri || '".')
        )
    )
end
