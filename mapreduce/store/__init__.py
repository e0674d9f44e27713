"""Durable state behind a small Redis-shaped API, chosen by URL: see `open_store` and `base.Store`."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import StoreError
from .base import FORMAT, Store

__all__ = ["FORMAT", "Store", "open_store"]


def open_store(url: str) -> Store:
    """Open the store that `url` names.

    - `memory://` forgets when the process ends.
    - `sqlite:///var/lib/daf/state.db` is a file, here /var/lib/daf/state.db; `sqlite://state.db` is one in the current
      folder. `?sync=normal` gives up the last commits before a power cut for speed (never those before a kill); what
      nodes have deleted since is then computed again. The default is `?sync=full`. `?accept=older` takes a store that
      lacks what was last committed to it as it is.

    Raises:
        StoreError: the URL is not one of these, or the store cannot be opened (see SqliteStore).
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if parts.scheme == "memory" and not parts.netloc and not parts.path.strip("/") and not options:
        from .memory import MemoryStore

        return MemoryStore()
    if parts.scheme == "sqlite" and not set(options) - {"sync", "accept"} and options.get("accept") in (None, "older"):
        from .sqlite import SqliteStore

        path = unquote(parts.netloc + parts.path)
        if path.strip("/"):
            return SqliteStore(path, options.get("sync", "full"), older="accept" in options)
    raise StoreError(
        f"{url!r} names no store: use memory://, sqlite:///absolute/path.db or sqlite://relative.db "
        "(sqlite may add ?sync=normal or ?accept=older)"
    )
