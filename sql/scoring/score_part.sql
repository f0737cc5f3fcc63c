-- Scores of one part for several concepts. Each is a readout: products with some vectors, then a link. Prompts pooled
-- by their mean are one vector w = logit_scale * (p - n), since softmax(s * [p.x, n.x])[0] = sigmoid(s * (p - n).x);
-- Radford et al. 2021, 3.1.4: https://arxiv.org/abs/2103.00020. With the link softmax every prompt competes by itself.
-- Grain: one row per embedded image of the part; true to the order of $vectors, scores[k] belongs to vectors[k].
-- Parameters: for each readout $vectors, a list of vectors of D floats; $links; $biases, added to the one product of
-- a readout that is no softmax; $positives, how many of its vectors, the first, are for it. Reads the view `part`.
with products as (
    select
        image_id,
        run_id,
        uri,
        list_transform(
            $vectors::float[][][],
            lambda vectors: list_transform(vectors, lambda v: list_inner_product(embedding, v)::double)
        ) as z
    from part
    where status = 'embedded'
),

readouts as (
    select
        image_id,
        run_id,
        uri,
        list_zip(z, $links::varchar[], $biases::double[], $positives::integer[]) as readouts
    from products
)

select
    image_id,
    run_id,
    uri,
    list_transform(
        readouts,
        lambda r: (
            case r[2]
                when 'identity' then r[1][1] + r[3]
                when 'sigmoid' then 1 / (1 + exp(-(r[1][1] + r[3])))
                else
                    list_sum(list_transform(r[1][:r[4]], lambda z: exp(z - list_max(r[1]))))
                    / list_sum(list_transform(r[1], lambda z: exp(z - list_max(r[1]))))
            end
        )::float
    ) as scores
from readouts
