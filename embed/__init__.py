"""Pass 1: source -> bytes -> pixels -> embeddings -> parts. The only room that loads torch, open_clip and Pillow."""
