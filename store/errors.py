"""Every error that clipsieve raises on purpose. Each says what happened, why it matters and what to do.

ClipsieveError                  exit code 1
    UsageError                  exit code 2: the words of the command are wrong; nothing was touched
        UnknownName             a concept, encoder, column or shipped file that does not exist, with the nearest one
        MissingExtra            the command needs an optional dependency that is not installed
    StoreError                  the store itself
        StoreNotFound           there is no store at that place
        StoreDamaged            a file of the store cannot be read, or contradicts another
        StoreTooNew             written by a later version of clipsieve
        WrongEncoder            the store's vectors come from another encoder than the one asked for
        NotScored               a question about scores that have not been computed yet
        NotCompared             a question about near-duplicates whose pairs have not been looked for yet
        RunExists               a run would overwrite another one
        RunDamaged              a run's files are not what they were when it was made
        CountsDiffer            kept, removed and errors do not add up to what the source held
    SourceError                 the source as a whole cannot be listed (one bad image is a row, never an exception)
    LocationError               a folder or bucket refused a read or a write
        NotNow                  it did not answer, or was too busy: the same may work a little later
    WeightsUnavailable          an encoder's weights cannot be found, downloaded or trusted
    ImportRefused               vectors or texts from elsewhere fail a check; nothing of them was written
    QueryRefused                SQL that is no single read-only query, or that DuckDB rejects
"""


class ClipsieveError(Exception):
    """Base of every error raised on purpose; `str()` is one message fit for a terminal."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", do: str = "") -> None:
        """Join what happened, why it matters and what to do into one message."""
        self.what, self.why, self.do = what, why, do
        super().__init__(" ".join(part for part in (what, why, do) if part))

    def __reduce__(self) -> tuple[type["ClipsieveError"], tuple[str, str, str]]:
        """Let it travel between processes with its three parts."""
        return type(self), (self.what, self.why, self.do)


class UsageError(ClipsieveError):
    """The words of the command are wrong; nothing was touched."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that stands for nothing here."""


class MissingExtra(UsageError):
    """An optional dependency is needed and not installed."""


class StoreError(ClipsieveError):
    """Something about the store itself."""


class StoreNotFound(StoreError):
    """There is no store at that place."""


class StoreDamaged(StoreError):
    """A file of the store cannot be read, or contradicts another."""


class StoreTooNew(StoreError):
    """The store was written by a later version of clipsieve."""


class WrongEncoder(StoreError):
    """The store's vectors come from another encoder than the one asked for."""


class NotScored(StoreError):
    """A question about scores that have not been computed yet."""


class NotCompared(StoreError):
    """A question about near-duplicates whose pairs have not been looked for yet."""


class RunExists(StoreError):
    """A run would overwrite another one."""


class RunDamaged(StoreError):
    """A run's files are not what they were when it was made."""


class CountsDiffer(StoreError):
    """Kept, removed and errors do not add up to what the source held."""


class SourceError(ClipsieveError):
    """The source as a whole cannot be listed."""


class LocationError(ClipsieveError):
    """A folder or bucket refused a read or a write."""


class NotNow(LocationError):
    """A place did not answer, or was too busy: the same may work a little later."""


class WeightsUnavailable(ClipsieveError):
    """An encoder's weights cannot be found, downloaded or trusted."""


class ImportRefused(ClipsieveError):
    """Vectors or texts from elsewhere fail a check; nothing of them was written."""


class QueryRefused(ClipsieveError):
    """SQL that is no single read-only query, or that DuckDB rejects."""
