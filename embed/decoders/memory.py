"""What decodes may take: a large picture waits until there is room for its pixels, and one too large is refused."""

from threading import Condition

BYTES_PER_PIXEL = 20
"""What decoding takes at its worst: Pillow's 4 bytes, and the copies for transparency, orientation and hashing."""

UNASKED_BYTES = 64 << 20
"""Pictures that need less are not worth a question: as many as there are cores."""


class Memory:
    """Bytes that the large pictures of a job may take at the same time; used by many threads."""

    def __init__(self, size_bytes: int) -> None:
        """Start with all of it free."""
        self._size, self._free = size_bytes, size_bytes
        self._changed = Condition()
        self._closed = False

    def take(self, size_bytes: int) -> bool:
        """Wait until there is room and take it; False where there never will be."""
        with self._changed:
            if size_bytes > self._size:
                return False
            self._changed.wait_for(lambda: self._closed or self._free >= size_bytes)
            self._free -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Return what `take` took."""
        with self._changed:
            self._free += size_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """Let everybody who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
