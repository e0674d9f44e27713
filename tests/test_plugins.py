"""Plugins: found without being imported, loaded and checked when used, and named when they are broken."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from mapreduce import Job, plugins
from mapreduce.errors import BadParameters, BrokenPlugin, UnknownJobType

GOOD = """
    from dataclasses import dataclass
    from mapreduce import Job

    @dataclass
    class Halve(Job):
        '''Halve numbers.

        More about it.
        '''

        n: int
        version = "7"

        def splits(self):
            return range(self.n)

        def map(self, split, ctx):
            yield split, split / 2
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


@pytest.fixture
def registry() -> plugins.Registry:
    return plugins.Registry()


def test_installed_plugins_are_listed_with_version_and_help(registry: plugins.Registry) -> None:
    found = registry.all()["wordcount"]
    assert found.doc == "Count the words of text files."
    assert found.version.endswith("/1") and found.version[0].isdigit()
    assert found.spec == "plugins.wordcount:WordCount"


def test_listing_imports_no_plugin_and_nothing_heavy() -> None:
    program = """
        import sys
        from mapreduce import plugins
        assert "wordcount" in plugins.names() and plugins.versions()["sort"]
        plugins.commands()
        print(sorted(m for m in sys.modules if m.split(".")[0] in ("plugins", "nerf_plugin", "numpy", "numba", "PIL")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_file_is_listed_without_being_run(registry: plugins.Registry, tmp_path: Path) -> None:
    path = write(tmp_path, "halve.py", GOOD + "\n    raise SystemExit('imported')\n")
    assert registry.add(path) == ["halve"]
    found = registry.describe("halve")
    assert (found.doc, found.spec) == ("Halve numbers.", f"{path}:Halve")
    assert found.version.startswith("file-")


def test_a_file_is_loaded(registry: plugins.Registry, tmp_path: Path) -> None:
    registry.add(write(tmp_path, "halve.py", GOOD))
    cls = registry.load("halve")
    assert (cls.name, cls.version, cls(3).n) == ("halve", "7", 3)  # type: ignore[call-arg]
    assert registry.load("halve") is cls


def test_the_version_of_a_file_follows_its_content(registry: plugins.Registry, tmp_path: Path) -> None:
    path = write(tmp_path, "halve.py", GOOD)
    registry.add(path)
    first = registry.describe("halve").version
    registry.add(path)
    assert registry.describe("halve").version == first
    write(tmp_path, "halve.py", GOOD.replace("split / 2", "split / 3"))
    registry.add(path)
    assert registry.describe("halve").version != first


def test_a_name_set_in_the_class_counts(registry: plugins.Registry, tmp_path: Path) -> None:
    path = write(tmp_path, "halve.py", GOOD.replace('version = "7"', 'name = "half"'))
    assert registry.add(path) == ["half"]
    assert registry.load("half").name == "half"


def test_classes_that_extend_a_job_of_the_same_file_count(registry: plugins.Registry, tmp_path: Path) -> None:
    more = "\n    @dataclass\n    class Third(Halve):\n        '''Third.'''\n\n    class Helper:\n        pass\n"
    path = write(tmp_path, "two.py", GOOD + more)
    assert sorted(registry.add(path)) == ["halve", "third"]
    assert plugins.Registry().add(f"{path}:Third") == ["third"]


def test_a_class_that_extends_an_imported_job_type_counts(
    registry: plugins.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.py").write_text(
        "from plugins.wordcount import WordCount as Counts\nclass Base(Counts):\n    pass\n"
    )
    (tmp_path / "mine.py").write_text("from shop import Base\nfrom json import dumps\nclass Mine(Base):\n    pass\n")
    (tmp_path / "round.py").write_text("from round import Other\nclass Other(Other):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.add(tmp_path / "mine.py") == ["mine"]
    with pytest.raises(BadParameters, match="does not define a class that extends Job"):
        registry.add(tmp_path / "round.py")


def test_a_file_goes_before_an_installed_plugin_of_the_same_name(registry: plugins.Registry, tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", GOOD.replace("Halve", "WordCount"))
    registry.add(path)
    assert registry.describe("wordcount").spec == registry.all()["wordcount"].spec == f"{path}:WordCount"


def test_files_named_by_the_environment_are_found(
    registry: plugins.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "halve.py", GOOD)
    monkeypatch.setenv("DAF_PLUGINS", os.pathsep.join([str(path), ""]))
    assert registry.load("halve").version == "7"


@pytest.mark.parametrize(
    ("text", "spec", "error", "words"),
    [
        ("x = 1", "{}", BadParameters, "does not define a class that extends Job"),
        (GOOD, "{}:Halv", BadParameters, "does not define a class 'Halv'; it has Halve"),
        ("def broken(:", "{}", BrokenPlugin, "cannot be read as a plugin"),
        (GOOD, "{}.nothing.py", BadParameters, "there is no file"),
        (GOOD, "no.such.module:Halve", BadParameters, "there is no module 'no.such.module'"),
    ],
)
def test_a_file_without_a_job_type_is_refused(
    registry: plugins.Registry, tmp_path: Path, text: str, spec: str, error: type[Exception], words: str
) -> None:
    path = write(tmp_path, "some.py", text)
    with pytest.raises(error) as caught:
        registry.add(spec.format(path))
    assert words in str(caught.value)


def test_an_unknown_type_is_answered_with_close_names(registry: plugins.Registry) -> None:
    with pytest.raises(UnknownJobType, match="did you mean wordcount"):
        registry.load("wordcuont")
    with pytest.raises(UnknownJobType, match=r"known are: .*grep, kmeans"):
        registry.load("zzzzzzz")


def test_a_plugin_that_cannot_be_imported_shows_its_own_traceback_and_hurts_no_other(
    registry: plugins.Registry, tmp_path: Path
) -> None:
    registry.add(write(tmp_path, "bad.py", GOOD + "\n    def oops():\n        return 1 / 0\n\n    oops()\n"))
    with pytest.raises(BrokenPlugin) as caught:
        registry.load("halve")
    text = str(caught.value)
    assert "plugin 'halve'" in text and str(tmp_path / "bad.py") in text
    assert "line" in text and "in oops" in text and "ZeroDivisionError: division by zero" in text
    assert "importlib" not in text and "plugins.py" not in text.replace("bad.py", "")
    assert registry.load("wordcount").name == "wordcount"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("@dataclass", "", "Halve is not a dataclass: put @dataclass above"),
        ("def map(self, split, ctx)", "def map(self, split)", "Halve.map(self, split) must be a method that takes"),
        ("def splits(self)", "def other(self)", "Halve does not define splits(self)"),
        ("def splits(self)", "partition = 3\n\n        def splits(self)", "Halve.partition = 3 must be a method"),
        ("n: int", "n: complex", "Halve.n"),
        ("class Halve(Job)", "class Halve(Job, metaclass=type)", None),
    ],
)
def test_a_class_that_is_no_proper_job_type_is_named_with_its_method(
    registry: plugins.Registry, tmp_path: Path, old: str, new: str, words: str | None
) -> None:
    registry.add(write(tmp_path, "some.py", GOOD.replace(old, new, 1)))
    if words is None:
        registry.load("halve")
        return
    with pytest.raises(BrokenPlugin) as caught:
        registry.load("halve")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "method", ["combine(self, key)", "reduce(self, key, values)", "finish(self)", "check(self, x)"]
)
def test_methods_that_take_too_few_or_too_many_are_named(
    registry: plugins.Registry, tmp_path: Path, method: str
) -> None:
    registry.add(write(tmp_path, "some.py", GOOD + f"\n        def {method}:\n            return None\n"))
    with pytest.raises(BrokenPlugin, match=rf"Halve\.{method.partition('(')[0]}\(.*must be a method that takes"):
        registry.load("halve")


def test_a_name_that_differs_from_the_class_is_explained(registry: plugins.Registry, tmp_path: Path) -> None:
    text = GOOD.replace('version = "7"', 'name = "ha" + "lf"')
    registry.add(write(tmp_path, "some.py", text))
    with pytest.raises(BrokenPlugin, match=r"its name is 'half': set name = 'halve'"):
        registry.load("halve")


@dataclass
class Here(Job):
    """A class of this file."""

    n: int = 1

    def splits(self):  # type: ignore[no-untyped-def]
        return range(self.n)

    def map(self, split, ctx):  # type: ignore[no-untyped-def]
        yield split, 1


def test_the_class_of_a_program_is_adopted_under_its_file(registry: plugins.Registry) -> None:
    assert registry.adopt(Here) == "here"
    assert registry.load("here") is Here
    assert registry.added == [f"{__file__}:Here"]
    assert registry.adopt(Here) == "here"


def test_installed_classes_need_no_adoption(registry: plugins.Registry) -> None:
    from plugins.wordcount import WordCount

    assert registry.adopt(WordCount) == "wordcount"
    assert registry.added == []


def test_a_class_that_no_other_process_can_find_is_refused(registry: plugins.Registry) -> None:
    @dataclass
    class Inner(Here):
        pass

    with pytest.raises(BadParameters, match="define it at the top of a file, or use engine='inline'"):
        registry.adopt(Inner)
