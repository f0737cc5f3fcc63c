"""What is a duplicate of what, asked of pairs that were found before: no vector is read."""
