-- How many images two rules both hold for; the upper one decides these, unless a third one stands above both.
-- Grain: one row per pair of rules with an image in common. Parameters: none. Reads `patterns` (holds, images) and
-- `rules` (number, rule).
with held as (
    select
        row_number() over () as pattern,
        images,
        holds
    from patterns
),

numbered as (
    select
        pattern,
        images,
        unnest(holds) as holds,
        generate_subscripts(holds, 1) as number
    from held
)

select
    upper_rule.number as upper_number,
    upper_rule.rule as upper_rule,
    lower_rule.number as lower_number,
    lower_rule.rule as lower_rule,
    sum(a.images)::bigint as images
from numbered as a
inner join numbered as b on a.pattern = b.pattern and a.number < b.number
inner join rules as upper_rule on a.number = upper_rule.number
inner join rules as lower_rule on b.number = lower_rule.number
where
    a.holds
    and b.holds
group by all
order by upper_number, lower_number
