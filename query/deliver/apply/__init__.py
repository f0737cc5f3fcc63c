"""From a run to what it says: copies below a prefix, or files moved aside; each of them can be taken back."""
