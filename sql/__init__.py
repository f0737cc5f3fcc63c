"""The queries, one per file; each opens with its grain and its parameters. `load` is all the Python there is."""

from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> str:
    """Return the text of `sql/<name>.sql`, for example `load("rules/sweep_grid")`."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def names(folder: str) -> list[str]:
    """Return the names of all queries in a folder, for example `checks/one_outcome`, sorted."""
    return sorted(
        f"{folder}/{f.name[:-4]}" for f in files(__name__).joinpath(folder).iterdir() if f.name.endswith(".sql")
    )
