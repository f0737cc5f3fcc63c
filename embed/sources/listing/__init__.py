"""Listing much: by ranges of keys in parallel, from an S3 Inventory, or from what the store knows of it."""
