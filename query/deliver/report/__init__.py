"""The report of a run: one HTML file that can be handed round, and that loads nothing from anywhere."""
