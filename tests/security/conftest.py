from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import daf, start
from tests.security.ring import ring

__all__ = ["daf", "folder", "start"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key directory with a pair of every party; tests that change it make their own."""
    return ring(tmp_path_factory.mktemp("ring") / "keys")
