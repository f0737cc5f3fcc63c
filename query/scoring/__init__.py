"""From prompts to cached scores: what a concept is, its vector, and one column of scores for each."""
