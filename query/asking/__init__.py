"""Questions: by text and image, in SQL, by name from the cookbook, at a prompt, and as a catalog for other clients."""
