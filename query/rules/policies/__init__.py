"""From the words of a policy to rules: TOML, conditions in SQL, and the kinds of rules that there are."""
