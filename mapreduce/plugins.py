"""Job types: where they come from, how they are found, and what is said about one that is broken.

A job type comes from one of three places: an entry point of an installed distribution (group `mapreduce.jobs`), a
file of the user's own (`add("path/to/file.py")`, also by the environment variable DAF_PLUGINS, a list like PATH), or
a class that a program hands to `run` (`adopt`). Finding them imports none of them: name, version and first line of
help are read from the source text, so the coordinator, `daf --help` and the parent process of a worker stay free of
plugin code. `load` imports.

The version that a worker announces is `<version of the distribution>/<version of the class>` for installed plugins and
`file-<hash of the source>` for files; the scheduler gives tasks only to workers that announce the version of the
submission.

A plugin that cannot be imported, or is not what it says, is a `BrokenPlugin` that names it and shows its own traceback.
Others are not touched by it.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import BadParameters, BrokenPlugin, UnknownJobType
from .job import Job

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "mapreduce.jobs"
COMMANDS = "mapreduce.commands"
VARIABLE = "DAF_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """One job type as far as it is known without importing it. `origin` says where it comes from, `spec` how to load
    it: `module:Class` or `/path/file.py:Class`."""

    name: str
    version: str
    doc: str
    origin: str
    spec: str


class Registry:
    """The job types that this process knows. The module's functions use one shared instance."""

    def __init__(self) -> None:
        self._added: dict[str, Plugin] = {}
        self._classes: dict[str, type[Job]] = {}

    @property
    def added(self) -> list[str]:
        """What a child process has to `add` to know the same job types: the specs of files and adopted classes."""
        return [plugin.spec for plugin in self._added.values()]

    def all(self) -> dict[str, Plugin]:
        """Every job type by name; files and adopted classes go before installed ones of the same name."""
        return dict(sorted((_installed() | _from_environment() | self._added).items()))

    def add(self, spec: str | Path) -> list[str]:
        """Make the job types of a file known: `file.py`, `file.py:Class`, or `module:Class`. Returns their names.

        Raises:
            BadParameters: there is no such file, or it defines no such class.
            BrokenPlugin: the file is not Python.
        """
        plugins = list(_read_spec(str(spec)))
        for plugin in plugins:
            if self._added.get(plugin.name) != plugin:
                self._added[plugin.name] = plugin
                self._classes.pop(plugin.name, None)
        return [plugin.name for plugin in plugins]

    def adopt(self, cls: type[Job]) -> str:
        """Make the class of a running program known, so that worker processes find it; returns its name.

        Raises:
            BadParameters: it is defined where no other process can find it (in a function, at a prompt).
        """
        if self._classes.get(cls.name) is cls:
            return cls.name
        module = sys.modules.get(cls.__module__)
        package = sys.modules.get(cls.__module__.partition(".")[0])
        source = getattr(module, "__file__", None)
        if "<locals>" in cls.__qualname__ or not (source and os.path.exists(source)):
            raise BadParameters(
                f"{cls.__qualname__} is defined where worker processes cannot find it; "
                "define it at the top of a file, or use engine='inline'"
            )
        importable = "." in cls.__module__ and getattr(package, "__file__", None) is not None
        spec = f"{cls.__module__}:{cls.__qualname__}" if importable else f"{source}:{cls.__qualname__}"
        known = self.all().get(cls.name)
        if known is None or known.spec != spec:
            self.add(spec)
        self._classes[cls.name] = cls
        return cls.name

    def describe(self, name: str) -> Plugin:
        """What is known of a job type without importing it. Raises UnknownJobType, with close matches."""
        known = self._added if name in self._added else self.all()
        if name not in known:
            close = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known are: {', '.join(known) or 'none'}"
            raise UnknownJobType(f"there is no job type {name!r}; {hint} (daf plugins lists them all)")
        return known[name]

    def load(self, name: str) -> type[Job]:
        """The class of a job type, imported and checked.

        Raises:
            UnknownJobType: no plugin has that name; close matches are named.
            BrokenPlugin: it cannot be imported (with its own traceback) or is not a proper job type.
        """
        plugin = self.describe(name)
        if name not in self._classes:
            cls = load_object(plugin.spec, f"plugin {name!r} ({plugin.origin})")
            problems = check(cls)
            if not problems and cls.name != name:
                problems = [f"its name is {cls.name!r}: set name = {name!r} in the class"]
            if problems:
                raise BrokenPlugin(f"plugin {name!r} ({plugin.origin}) is broken: " + "; ".join(problems))
            self._classes[name] = cls
        return self._classes[name]


_registry = Registry()
add = _registry.add
adopt = _registry.adopt
describe = _registry.describe
load = _registry.load
known = _registry.all


def names() -> list[str]:
    """The names of all known job types; imports none."""
    return list(known())


def versions() -> dict[str, str]:
    """Name to version of all known job types, as a worker announces them; imports none."""
    return {plugin.name: plugin.version for plugin in known().values()}


def version(name: str) -> str:
    """The version of one job type. Raises UnknownJobType."""
    return describe(name).version


def added() -> list[str]:
    """What worker processes have to `add` to know what this process knows beyond the installed plugins."""
    return _registry.added


_SHAPES: dict[str, Callable[..., Any]] = {
    "splits": lambda self: ...,
    "map": lambda self, split, ctx: ...,
    "combine": lambda self, key, values: ...,
    "partition": lambda self, key, partitions: ...,
    "reduce": lambda self, key, values, ctx: ...,
    "finish": lambda self, results, ctx: ...,
    "next_stage": lambda self, history: ...,
    "check": lambda self: ...,
}


def check(cls: Any) -> list[str]:
    """What is wrong with a class as a job type, in words; nothing for a proper one."""
    from . import params

    if not (isinstance(cls, type) and issubclass(cls, Job)):
        return [f"{cls!r} is not a class that extends mapreduce.Job"]
    problems = []
    for method, shape in _SHAPES.items():
        function = getattr(cls, method)
        if function is None and method == "combine":
            continue
        wanted = inspect.signature(shape)
        try:
            inspect.signature(function).bind(*wanted.parameters)
        except TypeError:
            given = inspect.signature(function) if callable(function) else f" = {function!r}"
            problems.append(f"{cls.__qualname__}.{method}{given} must be a method that takes {wanted}")
    if cls.next_stage is Job.next_stage:
        missing = [method for method in ("splits", "map") if getattr(cls, method) is getattr(Job, method)]
        problems += [
            f"{cls.__qualname__} does not define {method}{inspect.signature(_SHAPES[method])}" for method in missing
        ]
    try:
        params.fields(cls)
    except BrokenPlugin as error:
        problems.append(str(error))
    return problems


# -------------------------------------------------------------------------------------------- reading without importing


@cache
def _installed() -> dict[str, Plugin]:
    from importlib.metadata import entry_points  # slow to load, and needless where a type is known already

    return {entry.name: _read_entry(entry) for entry in entry_points(group=GROUP)}


def _read_entry(entry: EntryPoint) -> Plugin:
    """A plugin whose source cannot be read is listed all the same: `load` says what is wrong with it."""
    release = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
    number, doc = "1", ""
    source = _find_source(entry.module)
    if source is not None:
        try:
            found = {item.cls: item for item in _scan(source.read_bytes())}
        except (OSError, SyntaxError, ValueError):
            found = {}
        if item := found.get(entry.attr):
            number, doc = item.version, item.doc
    return Plugin(entry.name, f"{release.rpartition(' ')[2]}/{number}", doc, f"{release}, {entry.value}", entry.value)


@cache
def commands() -> dict[str, Plugin]:
    """The commands that plugins add to `daf`, by name; imports none."""
    from importlib.metadata import entry_points

    return {entry.name: _read_entry(entry) for entry in sorted(entry_points(group=COMMANDS), key=lambda e: e.name)}


def _find_source(module: str) -> Path | None:
    """The file of a module, found without importing its parents."""
    head, *tail = module.split(".")
    try:
        spec = importlib.util.find_spec(head)
        for depth, _ in enumerate(tail, 1):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(".".join([head, *tail[:depth]]), list(spec.submodule_search_locations))
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _from_environment() -> dict[str, Plugin]:
    specs = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return {plugin.name: plugin for spec in specs for plugin in _read_spec(spec)}


def _read_spec(spec: str) -> Iterator[Plugin]:
    path_text, _, wanted = spec.partition(":")
    by_file = path_text.endswith(".py") or os.sep in path_text
    path = Path(path_text) if by_file else _find_source(path_text)
    if path is None or not path.is_file():
        raise BadParameters(f"there is no {'file' if by_file else 'module'} {path_text!r} with job types in it")
    try:
        data = path.read_bytes()
        found = list(_scan(data))
    except (OSError, SyntaxError, ValueError) as error:
        raise BrokenPlugin(f"{path} cannot be read as a plugin: {error}") from error
    chosen = [item for item in found if (item.cls == wanted if wanted else item.job)]
    if not chosen:
        have = ", ".join(item.cls for item in found if item.job)
        what = f"a class {wanted!r}" if wanted else "a class that extends Job"
        raise BadParameters(f"{path} does not define {what}" + (f"; it has {have}" if have else ""))
    number = f"file-{hashlib.sha256(data).hexdigest()[:12]}"
    for item in chosen:
        where = os.path.abspath(path) if by_file else path_text
        yield Plugin(item.name, number, item.doc, str(path), f"{where}:{item.cls}")


@dataclass(frozen=True)
class _Class:
    cls: str
    name: str
    version: str
    doc: str
    job: bool


@functools.lru_cache(maxsize=64)
def _scan(source: bytes, above: frozenset[str] = frozenset()) -> tuple[_Class, ...]:
    """The classes and functions of a module's top level. A class is taken for a job type if a base is called Job, or is
    such a class, of this file or imported by name from another (not from `above`: modules whose import led here); its
    name and version are the literals assigned in its body, as `Job.__init_subclass__` finds them."""
    return tuple(_classes(source, above))


def _classes(source: bytes, above: frozenset[str]) -> Iterator[_Class]:
    jobs: set[str] = set()
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        if isinstance(node, ast.FunctionDef):
            yield _Class(node.name, node.name, "1", _first_line(node), False)
        if not isinstance(node, ast.ClassDef):
            continue
        bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
        if "Job" in bases or bases & jobs or any(_is_job(*imported[base], above) for base in bases & imported.keys()):
            jobs.add(node.name)
        literals = dict(_literals(node))
        name, number = literals.get("name", node.name.lower()), literals.get("version", "1")
        yield _Class(node.name, name, number, _first_line(node), node.name in jobs)


def _is_job(module: str, name: str, above: frozenset[str]) -> bool:
    """Whether a class of another module is a job type, as far as its source says."""
    source = None if module in above else _find_source(module)
    try:
        found = _scan(source.read_bytes(), above | {module}) if source else ()
    except (OSError, SyntaxError, ValueError):
        return False
    return any(item.job and item.cls == name for item in found)


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _literals(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for item in node.body:
        if isinstance(item, ast.Assign | ast.AnnAssign) and isinstance(item.value, ast.Constant):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            if isinstance(item.value.value, str):
                yield from ((target.id, item.value.value) for target in targets if isinstance(target, ast.Name))


# ---------------------------------------------------------------------------------------------------------- importing


def load_object(spec: str, what: str) -> Any:
    """What `module:attribute` or `/path/file.py:attribute` names, imported.

    Raises:
        BrokenPlugin: the import failed; `what` begins the message, the plugin's own traceback follows.
    """
    target, _, attribute = spec.partition(":")
    load_module: Callable[[str], ModuleType] = _load_file if target.endswith(".py") else importlib.import_module
    try:
        found: Any = load_module(target)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except Exception as error:
        raise BrokenPlugin(f"{what} is broken:\n{own_traceback(error)}") from error


def _load_file(path: str) -> ModuleType:
    """Import a file, once for each content, under a private name by which dataclasses find their module."""
    content = hashlib.sha256(os.fsencode(path) + b"\0" + Path(path).read_bytes()).hexdigest()
    name = f"_daf_file_{content[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def own_traceback(error: BaseException) -> str:
    """The traceback as the plugin's author needs it: without the frames of the import machinery and of this file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    head = ["Traceback (most recent call last):\n"] if own else []
    return "".join(head + traceback.format_list(own) + traceback.format_exception_only(error)).rstrip()
