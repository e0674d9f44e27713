"""Map tasks are handed out before the results of others are committed; nothing else is."""

from __future__ import annotations

import pytest

from mapreduce.client import Client
from mapreduce.coordination import promises
from mapreduce.scheduler.settings import Settings
from mapreduce.store.memory import MemoryStore
from tests.coordinator.fakes import Fake
from tests.coordinator.running import coordinator

MAP, REDUCE = 1, 2
CALM = Settings(heartbeat=60.0, lease=600.0, node_grace=600.0, prefetch=0, speculate=False)
"""No heartbeat asks for an Ack, which would ask for a commit; and one task at a time."""


class Counting(MemoryStore):
    """Counts commits."""

    commits = 0

    def commit(self, sync: bool = True) -> None:
        self.commits += 1
        super().commit(sync)


def test_a_map_does_not_wait_for_the_commit_of_another_and_a_reduce_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "LATER", 1e6)
    store = Counting()
    with coordinator(store, CALM) as c, Client(c.endpoint) as client:
        held = {2, 19}
        fake = Fake(c.endpoint, maps=20, slots=1, hold=lambda key: key[2] == MAP and key[3] in held)
        client.submit("fake", b"")

        def ran(kind: int) -> int:
            return len([key for key in fake.ran if key[2] == kind])

        fake.run(lambda: ran(MAP) == 2)
        before = store.commits
        held.remove(2)
        fake.let_go()
        fake.run(lambda: ran(MAP) == 19)
        assert store.commits == before
        held.clear()
        fake.let_go()
        fake.run(lambda: ran(REDUCE) > 0)
        assert store.commits > before
        fake.close()
