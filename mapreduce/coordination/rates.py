"""How much one connection may say and be told, so that a loud or greedy one costs the others nothing.

Buckets are filled with time and emptied by use. A client that says more than its bucket holds is told `busy`, with when
to come back, and not heard meanwhile; strangers, who have said no hello yet, share one bucket and are told nothing.
Workers have none: they say as much as they were given to do. An answer that is large (a job's value) empties a bucket
of its own: libzmq keeps a thousand answers for a peer that does not read, and those must not be gigabytes. (Connections
whose peer takes nothing for a minute are cut by the kernel, see sockets.py.)
"""

from __future__ import annotations


class Bucket:
    """Holds `size` drops, and gets `rate` of them a second."""

    __slots__ = ("at", "left", "rate", "size")

    def __init__(self, rate: float, size: float):
        self.rate, self.size, self.left, self.at = rate, size, size, 0.0

    def take(self, now: float, drops: float = 1.0) -> bool:
        """Take so many out, if something is left; what is more than that is owed."""
        self.left = min(self.size, self.left + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.left <= 0:
            return False
        self.left -= drops
        return True

    def wait(self) -> float:
        """Seconds until there is something in it again, a little generously."""
        return max(0.0, -self.left / self.rate) + 0.1


CLIENT = (500.0, 1_000.0)
"""Messages a second, and at once, of one client."""
STRANGERS = (1_000.0, 4_000.0)
"""Messages a second, and at once, of all who have not said hello, together."""
LARGE = 1 << 20
"""From this many bytes on an answer counts as large..."""
ANSWERS = (16 << 20, 256 << 20)
"""...and so many bytes of those a client gets a second, and at once."""
TELL = 0.25
"""Seconds between two answers to a client that says too much."""
