-- The manifest of one decision: where the image lies, what it is, its scores, and what decided it.
-- Grain: one row per image with that decision, in the order of URIs. Parameters: $decision ('remove', 'keep' or
-- 'quarantine'); by a rule's number $rules, $reasons and $quarantines; by a fact's number $attributes, $operators and
-- $thresholds; $buckets and, in their order, $bases, to which a key is added for its URL. Reads the table `manifest`,
-- which is in that order; a join would lose it.
select
    manifest.* exclude (rule_number, fact, score, group_name, duplicate_of, decision),
    list_extract($rules::varchar[], rule_number) as rule,
    list_extract($reasons::varchar[], rule_number) as reason,
    list_extract($attributes::varchar[], fact) as attribute,
    score,
    list_extract($operators::varchar[], fact) as operator,
    list_extract($thresholds::double[], fact) as threshold,
    group_name,
    list_extract($quarantines::varchar[], rule_number) as quarantine,
    duplicate_of,
    case when duplicate_of is not null then score end as cosine,
    's3://' || bucket || '/' || key as s3_uri,
    list_extract($bases::varchar[], list_position($buckets::varchar[], bucket))
    || case
        when regexp_full_match(key, '[A-Za-z0-9/._~-]*') then key -- nearly every key, and the rest costs more
        else replace(url_encode(key), '%2F', '/')
    end as https_url
from manifest
where decision = $decision
