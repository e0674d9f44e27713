from tests.worker.conftest import coordinator, worker  # noqa: F401
