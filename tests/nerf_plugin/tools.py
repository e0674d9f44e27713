"""Programs that tests borrow where they are there: a browser, Node.js."""

from __future__ import annotations

import os

import pytest


def lacking(what: str, reason: str) -> None:
    """Skip the test, saying why; but fail where DAF_TEST_REQUIRES names `what`, as .ci/run does."""
    if what in os.environ.get("DAF_TEST_REQUIRES", "").split():
        pytest.fail(f"{reason}, and DAF_TEST_REQUIRES asks for the {what}")
    pytest.skip(reason)
