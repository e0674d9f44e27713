"""What a commit has to come before."""

from __future__ import annotations

from mapreduce.coordination.journal import Journal
from mapreduce.store import open_store


def test_a_new_worker_gets_nothing_before_it_is_kept() -> None:
    """Else a restarted coordinator does not wait for it, and gives what it holds to another."""
    journal = Journal(open_store("memory://"))
    journal.expect_worker("w")
    assert journal.bound
    journal.commit()
    journal.expect_worker("w")
    assert not journal.bound
