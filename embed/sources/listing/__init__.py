"""Listing a large prefix of S3: in parallel by ranges of keys, or from an S3 Inventory."""
