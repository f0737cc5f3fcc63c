"""What lies at a path, read block by block: vectors, the metadata of their rows, and the names that it gives them."""
