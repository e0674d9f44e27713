"""The scheduler is sans-IO: it may not even reach for the outside."""

import ast
import sys
from pathlib import Path

import mapreduce.scheduler

HERE = Path(mapreduce.scheduler.__file__).parent
ALLOWED = {
    "__future__", "array", "collections", "dataclasses", "enum", "functools", "heapq", "itertools", "math", "typing",
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_it_imports_nothing_that_touches_the_world():
    files = [path for path in HERE.glob("*.py") if path.name != "diagram.py"]
    assert len(files) > 10
    for path in files:
        assert set(imports(path)) <= ALLOWED, path.name
    assert {name for name in ALLOWED if name != "__future__"} <= sys.stdlib_module_names


def test_it_never_leaves_its_own_package():
    for path in HERE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level > 1), path.name
