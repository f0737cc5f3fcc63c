"""From decisions to files that others rely on."""
