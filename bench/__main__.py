"""Run every bench: `python -m bench`, or one: `python -m bench embed`.

Those that write gigabytes first are run only where they are named: `python -m bench query`.
"""

import importlib
import sys
from pathlib import Path

ONLY_BY_NAME = {
    "duplicates",
    "embed_bombs",
    "embed_feed",
    "embed_growth",
    "embed_peers",
    "latency",
    "ledger",
    "machine",
    "model_rate",
    "query",
    "spectra",
    "synthetic",
}
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem not in ONLY_BY_NAME)


def main() -> None:
    """Run the benches named on the command line, or all."""
    for name in sys.argv[1:] or NAMES:
        print(f"\n== {name}")
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
