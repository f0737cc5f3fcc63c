"""Ray itself: loaded where it is installed, and joined where it runs already."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from store.errors import MissingExtra

_LEAST_CPUS = 4
"""With fewer, Ray Data can wait for itself: each actor holds one, and so does each task that hands out the input."""


def ray_module() -> Any:  # noqa: ANN401  # a module
    """Return Ray with its data library; raise MissingExtra where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415  # an extra of its own
        import ray.data  # noqa: PLC0415  # as above
    except ImportError as error:
        raise MissingExtra(
            "--engine ray needs Ray, which is not installed.", do="Run `pip install 'clipsieve[embed,ray]'`."
        ) from error
    return ray


@contextmanager
def joined(ray: Any) -> Iterator[None]:  # noqa: ANN401  # as above
    """Join the cluster that there is, or start one here for as long as the block runs."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="error")
    else:
        cores = max(_LEAST_CPUS, os.cpu_count() or 1)
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
