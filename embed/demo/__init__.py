"""The demonstration: drawn scenes whose truth is known, and a small encoder that understands them and nothing else."""
