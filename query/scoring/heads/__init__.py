"""Heads: trained weights that turn an embedding into a score; read without the library that trained them."""
