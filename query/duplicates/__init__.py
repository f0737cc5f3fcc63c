"""Near-duplicates: every close pair is found once and kept (`neighbors/`), and asked ever after (`answering/`).

The only theme with FAISS, which is imported when pairs are looked for and never beside torch.
"""
