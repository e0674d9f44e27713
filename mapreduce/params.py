"""Parameters of a job type: the fields of its dataclass, checked one by one.

One dataclass is the only description there is. From it come the check of what a user, a REST client or a library call
hands over (`validate`), the plain data that travels to the workers (`pack`, `unpack`), the JSON schema (`schema`) and
the options of the command line (`fields` with `describe`). A field says more about itself with `Param`:

    top: Annotated[int, Param(ge=1, description="how many words to show")] = 20

Paths are text on the way: absolute, seen from the folder where the job was submitted, so that they mean the same file
in every process."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

import msgspec
from msgspec import Meta as Param
from msgspec import inspect as _inspect

from .errors import BadParameters, BrokenPlugin

if typing.TYPE_CHECKING:
    from .job import Job

J = TypeVar("J", bound="Job")
_MISSING = dataclasses.MISSING

__all__ = ["Param", "ParamField", "convert", "describe", "fields", "normalise", "pack", "schema", "unpack", "validate"]


@dataclass(frozen=True)
class ParamField:
    """One parameter. `type` is the annotation with its constraints; `default` is plain data."""

    name: str
    type: Any
    required: bool
    default: Any
    description: str


def fields(cls: type[Job]) -> list[ParamField]:
    """The parameters of a job type: those without a default first, each kind in the order of its dataclass.

    Raises:
        BrokenPlugin: the class is no dataclass, or a field's annotation means nothing or cannot be checked.
    """
    return list(_fields(cls))  # type: ignore[arg-type]  # the class is hashed, not an instance as mypy has it


@functools.lru_cache(maxsize=256)
def _fields(cls: type[Job]) -> tuple[ParamField, ...]:
    if not hasattr(cls, "__dataclass_fields__"):
        raise BrokenPlugin(f"{cls.__qualname__} is not a dataclass: put @dataclass above the class")
    owner = cls.__qualname__
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise BrokenPlugin(f"{owner}: an annotation cannot be understood: {error}") from error
    found = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if not field.init:
            continue
        annotation = hints[field.name]
        try:
            info = _inspect.type_info(annotation)
            msgspec.json.schema_components([annotation], schema_hook=_schema_hook)
        except (TypeError, ValueError) as error:
            raise BrokenPlugin(f"{owner}.{field.name}: {annotation} cannot be a parameter: {error}") from error
        default = field.default_factory() if field.default_factory is not _MISSING else field.default
        text = (info.extra_json_schema or {}).get("description", "") if isinstance(info, _inspect.Metadata) else ""
        required = default is _MISSING
        plain = None if required else msgspec.to_builtins(default, enc_hook=_encode)
        found.append(ParamField(field.name, annotation, required, plain, text))
    return tuple(sorted(found, key=lambda field: not field.required))


def validate(cls: type[J], mapping: Mapping[str, Any], lax: bool = False, check: bool = True) -> J:
    """A job of type `cls` with the parameters of `mapping`; then its own `check()`, unless told otherwise.

    `lax` takes text for numbers, as a command line has it ("5" for 5, "null" for None).

    Raises:
        BadParameters: a parameter is unknown, missing, or of a wrong type or range; all such are named in one message.
        BadInput: raised by `check()`.
    """
    known = {field.name: field for field in fields(cls)}
    problems = [_unknown(name, known) for name in mapping if name not in known]
    problems += [
        f"parameter {name!r} is missing: {describe(field.type)}"
        for name, field in known.items()
        if field.required and name not in mapping
    ]
    values = {}
    for name, value in mapping.items():
        if name in known:
            try:
                values[name] = convert(value, known[name].type, lax)
            except ValueError as error:
                problems.append(f"parameter {name!r} {error}")
    if problems:
        raise BadParameters(f"{cls.name}: " + "; ".join(problems))
    try:
        job = cls(**values)
    except BadParameters:
        raise
    except (TypeError, ValueError) as error:
        raise BadParameters(f"{cls.name}: {error}") from error
    if check:
        job.check()
    return job


def convert(value: Any, annotation: Any, lax: bool = False) -> Any:
    """`value` as the type of one parameter.

    Raises:
        ValueError: with the end of a sentence that begins with the parameter: 'must be an integer >= 1, not 0'.
    """
    try:
        return msgspec.convert(value, annotation, strict=not lax, dec_hook=_decode)
    except msgspec.ValidationError as error:
        where = str(error).rpartition(" - at `$")[2].rstrip("`") if " - at `$" in str(error) else ""
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        detail = f" (at {where}: {str(error).partition(' - at')[0]})" if where else ""
        raise ValueError(f"must be {describe(annotation)}, not {shown}{detail}") from error


def normalise(job: J) -> J:
    """The same job, every parameter checked and of its declared type, paths absolute: what an engine runs."""
    typed = validate(type(job), to_plain(job), check=False)
    return validate(type(job), to_plain(typed, absolute=True), check=False)


def to_plain(job: Job, absolute: bool = False) -> dict[str, Any]:
    """The parameters as plain data: paths as text (`absolute`: from the current folder), enums by value."""

    def encode(item: Any) -> Any:
        return os.path.abspath(item) if absolute and isinstance(item, PurePath) else _encode(item)

    plain = {}
    for field in dataclasses.fields(job):  # type: ignore[arg-type]
        if field.init:
            try:
                plain[field.name] = msgspec.to_builtins(getattr(job, field.name), enc_hook=encode)
            except TypeError as error:
                raise BadParameters(f"{type(job).name}: parameter {field.name!r} is not plain data: {error}") from error
    return plain


def pack(job: Job) -> bytes:
    """The checked parameters as msgpack, for `Submit.params`; paths are made absolute. Raises BadParameters."""
    try:
        return msgspec.msgpack.encode(to_plain(normalise(job)))
    except (UnicodeEncodeError, OverflowError) as error:
        raise BadParameters(f"{type(job).name}: a parameter cannot be sent: {error}") from error


def unpack(cls: type[J], data: bytes) -> J:
    """The job that `pack` was given. Raises BadParameters, also for bytes that are no msgpack."""
    try:
        mapping = msgspec.msgpack.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadParameters(f"{cls.name}: the packed parameters cannot be read: {error}") from error
    return validate(cls, mapping, check=False)


def schema(cls: type[Job]) -> dict[str, Any]:
    """JSON Schema (2020-12) of the parameters, with descriptions and defaults."""
    known = fields(cls)
    types = [field.type for field in known]
    parts, components = msgspec.json.schema_components(types, schema_hook=_schema_hook, ref_template="#/$defs/{name}")
    properties = {}
    for field, part in zip(known, parts):
        properties[field.name] = part if field.required else part | {"default": field.default}
    result: dict[str, Any] = {"title": cls.name, "type": "object", "properties": properties}
    result["required"] = [field.name for field in known if field.required]
    result["additionalProperties"] = False
    if cls.__doc__:
        result["description"] = cls.__doc__.strip()
    return result | ({"$defs": components} if components else {})


def describe(annotation: Any) -> str:
    """What a parameter of this type may be, in words: 'an integer >= 1', 'one of a, b', 'a list of paths'."""
    return _describe(_inspect.type_info(annotation))


_NOUNS: dict[type, tuple[str, str]] = {
    _inspect.IntType: ("an integer", "integers"),
    _inspect.FloatType: ("a number", "numbers"),
    _inspect.StrType: ("text", "texts"),
    _inspect.BoolType: ("true or false", "true or false values"),
    _inspect.BytesType: ("bytes in base64", "bytes in base64"),
    _inspect.DictType: ("a mapping", "mappings"),
    _inspect.AnyType: ("anything", "anything"),
}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of", "pattern": "matching"}
_LENGTHS = {"min_length": "at least", "max_length": "at most"}


def _describe(info: Any, many: bool = False) -> str:
    if isinstance(info, _inspect.Metadata):
        return _describe(info.type, many)
    if isinstance(info, _inspect.UnionType):
        choices = [_describe(t, many) for t in info.types if not isinstance(t, _inspect.NoneType)]
        return " or ".join(choices + (["nothing"] if len(choices) < len(info.types) else []))
    if isinstance(info, _inspect.LiteralType):
        return "one of " + ", ".join(map(str, info.values))
    if isinstance(info, _inspect.EnumType):
        return "one of " + ", ".join(str(member.value) for member in info.cls)
    if isinstance(info, _inspect.CustomType) and issubclass(info.cls, PurePath):
        return "paths" if many else "a path"
    if isinstance(info, _inspect.TupleType):
        return "a list of " + ", ".join(_describe(item) for item in info.item_types)
    if isinstance(info, _inspect.CollectionType):
        words = f"{'lists' if many else 'a list'} of {_describe(info.item_type, True)}"
    else:
        words = _NOUNS.get(type(info), (f"a {type(info).__name__}",) * 2)[many]
    limits = [f"{sign} {value}" for key, sign in _BOUNDS.items() if (value := getattr(info, key, None)) is not None]
    for key, sign in _LENGTHS.items():
        if (length := getattr(info, key, None)) is not None:
            limits.append(f"{sign} {length} long")
    return f"{words} {' and '.join(limits)}".rstrip()


def _unknown(name: str, known: Mapping[str, ParamField]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(known) or 'no parameters'}"
    return f"there is no parameter {name!r}; {hint}"


def _decode(kind: Any, value: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, PurePath):
        if isinstance(value, str) and value and "\0" not in value:
            return Path(value) if issubclass(kind, Path) else kind(value)
        raise ValueError("not a path")
    raise TypeError(f"{kind} cannot be a parameter")


def _encode(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} is not a type of parameter")


def _schema_hook(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return {"type": "string", "format": "path", "minLength": 1}
    raise TypeError(f"{kind} cannot be a parameter")
