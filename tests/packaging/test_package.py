"""What is installed is what was meant: every package, no tests, one version, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mapreduce", "plugins", "nerf_plugin")
HEAVY = {"numpy", "numba", "scipy", "PIL", "skimage", "plugins", "nerf_plugin"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths inside a wheel built from the project's own files."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", *PACKAGES, "tests", "benchmarks", "bin"):
        if (ROOT / name).exists():
            (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('..')"]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_module_of_every_package(wheel_names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    missing = modules - wheel_names
    assert not missing, f"not in the wheel (is there an __init__.py in each folder?): {sorted(missing)}"


def test_wheel_holds_the_data_files_of_the_packages(wheel_names: set[str]) -> None:
    data = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".nbi", ".nbc"}
    }
    missing = data - wheel_names
    assert not missing, f"name them in setup.cfg, [options.package_data]: {sorted(missing)}"


def test_wheel_holds_nothing_else(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} <= set(PACKAGES)


def test_versions_agree() -> None:
    config = configparser.RawConfigParser()
    config.read(ROOT / "setup.cfg")
    stated = config["metadata"]["version"]
    library = ast.parse((ROOT / "mapreduce/__init__.py").read_text())
    literals = {
        node.targets[0].id: node.value.value
        for node in library.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    assert literals["__version__"] == stated
    assert importlib.metadata.version("daf") == stated
    assert f"image: daf:{stated}" in (ROOT / "compose.yaml").read_text()


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["mapreduce", "mapreduce.coordinator", "mapreduce.cli.coordinator", "mapreduce.cli.main"]
)
def test_import_is_light(module: str) -> None:
    assert not loaded_by(f"import {module}") & HEAVY


def test_every_public_name_can_be_imported() -> None:
    import mapreduce

    for name in mapreduce.__all__:
        assert getattr(mapreduce, name) is not None


@pytest.mark.parametrize("group", ["console_scripts", "mapreduce.jobs", "mapreduce.commands"])
def test_entry_points_load(group: str) -> None:
    ours = [entry for entry in importlib.metadata.entry_points(group=group) if entry.dist and entry.dist.name == "daf"]
    assert ours
    for entry in ours:
        assert entry.load() is not None
