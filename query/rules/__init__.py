"""From scores to decisions: rules, and the sweep that helps to choose their thresholds."""
