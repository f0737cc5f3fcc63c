"""Every figure of the documentation, each beside its baseline in the same run: `python -m bench`."""
