-- Scores of one part for several concepts. A concept of mean-pooled prompts is one vector w = logit_scale * (p - n),
-- since softmax(s * [p.x, n.x])[0] = sigmoid(s * (p - n).x); see Radford et al. 2021, 3.1.4:
-- https://arxiv.org/abs/2103.00020
-- Grain: one row per embedded image of the part; true to the order of $weights, scores[k] belongs to weights[k].
-- Parameters: $weights, a list of vectors of D floats.
select
    image_id,
    run_id,
    uri,
    list_transform(
        $weights::float[][],
        lambda w: (1 / (1 + exp(-list_inner_product(embedding, w)::double)))::float
    ) as scores
from part
where status = 'embedded'
