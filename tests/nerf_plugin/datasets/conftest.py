"""Makes the helper modules of this folder importable under importlib mode."""

import importlib.util
import sys
from pathlib import Path

import pytest

for _name in ("captures", "worlds"):
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).with_name(f"{_name}.py"))
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])


@pytest.fixture
def shared_data():
    """A folder of the real data that lies beside the checkout, or a skip that says so."""

    def find(name: str) -> Path:
        folder = Path(__file__).parents[4] / "shared" / "data" / name
        if not folder.is_dir():
            pytest.skip(f"the data set {name} is not at {folder}")
        return folder

    return find
