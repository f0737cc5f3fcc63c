"""Near-duplicates: every close pair is found once and kept (`neighbors/`), and asked in SQL ever after.

The only theme with FAISS, which is imported when pairs are looked for and never beside torch.
"""
