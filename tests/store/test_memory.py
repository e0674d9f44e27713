"""The memory store keeps the contract; URLs that name no store are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mapreduce.errors import StoreError
from mapreduce.store import Store, open_store
from tests.store.contract import StoreContract


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store("memory://")
        yield store
        store.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory://x",
        "memory://?sync=full",
        "sqlite://",
        "sqlite:///",
        "mysql://x/y",
        "sqlite:///x?mode=ro",
    ],
)
def test_other_urls_are_refused_with_the_ones_that_work(url: str) -> None:
    with pytest.raises(StoreError, match="memory://, sqlite:///"):
        open_store(url)
