"""From concepts to cached scores: what a concept is, what its scores are computed from, and a column for each."""
