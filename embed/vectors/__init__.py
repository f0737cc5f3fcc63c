"""Vectors that were made elsewhere, brought into a store as equals. Nothing here needs torch.

    reading     what lies at a path: arrays, metadata, the pairs that they form, the names of their rows
    target      which encoder of the store they join, if any
    lengths     finite, of length 1, or an error that says how far off
    check       the first pass: every vector and every name
    run         all of it: checks, then the listing, then the parts
    prompts     text vectors with their texts

Captions are the texts of an import's own images.
"""
