"""Parameters: what is taken, what is refused and in which words, and that nothing changes on the way to a worker."""

from __future__ import annotations

import enum
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from mapreduce import BadInput, Job, Param, params
from mapreduce.errors import BadParameters, BrokenPlugin


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Many(Job):
    """One parameter of every kind."""

    paths: Annotated[list[Path], Param(min_length=1, description="files")]
    top: Annotated[int, Param(ge=1, le=99, description="how many")] = 20
    scale: float = 1.0
    verbose: bool = False
    mode: Literal["fast", "slow"] = "fast"
    colour: Colour = Colour.RED
    out: Path | None = None
    names: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    where: Path = Path("here")

    def check(self) -> None:
        if self.mode == "slow" and self.out is None:
            raise BadInput("mode slow needs out")


FULL: dict[str, Any] = {
    "paths": ["a", "b"],
    "top": 3,
    "scale": 2,
    "verbose": True,
    "mode": "slow",
    "colour": "blue",
    "out": "c",
    "names": ["x"],
    "table": {"y": 1},
    "where": "there",
}


def test_values_get_their_declared_types() -> None:
    job = params.validate(Many, FULL)
    assert job == Many(
        [Path("a"), Path("b")], 3, 2.0, True, "slow", Colour.BLUE, Path("c"), ["x"], {"y": 1}, Path("there")
    )
    assert isinstance(job.scale, float)


def test_defaults_are_those_of_the_dataclass() -> None:
    assert params.validate(Many, {"paths": ["a"]}) == Many([Path("a")])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"top": 0}, "many: parameter 'top' must be an integer >= 1 and <= 99, not 0"),
        ({"top": "3"}, "parameter 'top' must be an integer >= 1 and <= 99, not '3'"),
        ({"top": True}, "parameter 'top' must be"),
        ({"mode": "quick"}, "parameter 'mode' must be one of fast, slow, not 'quick'"),
        ({"colour": "green"}, "parameter 'colour' must be one of red, blue, not 'green'"),
        ({"paths": []}, "parameter 'paths' must be a list of paths at least 1 long, not []"),
        ({"paths": "a"}, "parameter 'paths' must be a list of paths"),
        ({"paths": ["a", 3]}, "(at [1]: "),
        ({"paths": ["a", ""]}, "parameter 'paths' must be"),
        ({"out": 3}, "parameter 'out' must be a path or nothing, not 3"),
        ({"table": {"y": "z"}}, "parameter 'table' must be a mapping"),
        ({"tpo": 3}, "there is no parameter 'tpo'; did you mean 'top'?"),
        ({"zzzzz": 3}, "there is no parameter 'zzzzz'; it takes paths, top, scale"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameters) as caught:
        params.validate(Many, FULL | change)
    assert words in str(caught.value)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(BadParameters, match="parameter 'paths' is missing: a list of paths"):
        params.validate(Many, {})


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(BadParameters) as caught:
        params.validate(Many, {"top": 0, "tpo": 1})
    assert all(word in str(caught.value) for word in ("'tpo'", "'paths' is missing", "'top' must"))


def test_text_stands_for_numbers_only_when_lax() -> None:
    job = params.validate(Many, {"paths": ["a"], "top": "3", "verbose": "true", "scale": "0.5"}, lax=True)
    assert (job.top, job.verbose, job.scale) == (3, True, 0.5)


def test_the_jobs_own_check_runs_unless_told_otherwise() -> None:
    with pytest.raises(BadInput, match="mode slow needs out"):
        params.validate(Many, {"paths": ["a"], "mode": "slow"})
    params.validate(Many, {"paths": ["a"], "mode": "slow"}, check=False)


def test_an_error_of_post_init_is_a_bad_parameter() -> None:
    @dataclass
    class Picky(Job):
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    with pytest.raises(BadParameters, match="picky: low is above high"):
        params.validate(Picky, {"low": 2, "high": 1})


def test_packed_parameters_come_back_as_they_were_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = params.validate(Many, FULL)
    back = params.unpack(Many, params.pack(job))
    assert back.paths == [tmp_path / "a", tmp_path / "b"]
    assert back.out == tmp_path / "c"
    assert back.where == tmp_path / "there"
    assert (back.top, back.scale, back.mode, back.colour, back.names, back.table) == (
        (3, 2.0, "slow", Colour.BLUE, ["x"], {"y": 1})
    )


def test_a_job_made_in_python_is_checked_and_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loose = Many(["a"], top=np.int64(5), colour="blue")  # type: ignore[list-item, arg-type]
    job = params.normalise(loose)
    assert (job.paths, job.top, job.colour) == ([tmp_path / "a"], 5, Colour.BLUE)
    with pytest.raises(BadParameters, match="'top'"):
        params.normalise(Many([Path("a")], top=1000))
    with pytest.raises(BadParameters, match="'names' is not plain data"):
        params.normalise(Many([Path("a")], names=[object()]))  # type: ignore[list-item]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\x01\x02"])
def test_bytes_that_are_no_parameters_are_refused(data: bytes) -> None:
    with pytest.raises(BadParameters):
        params.unpack(Many, data)


def test_a_path_that_is_not_utf8_is_refused_in_words() -> None:
    with pytest.raises(BadParameters, match="cannot be sent"):
        params.pack(Many([Path(os.fsdecode(b"\xff"))]))


def test_the_schema_says_types_bounds_defaults_and_descriptions() -> None:
    schema = params.schema(Many)
    assert schema["required"] == ["paths"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "One parameter of every kind."
    assert schema["properties"]["top"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 99,
        "description": "how many",
        "default": 20,
    }
    assert schema["properties"]["paths"]["items"] == {"type": "string", "format": "path", "minLength": 1}
    assert schema["properties"]["where"]["default"] == "here"
    assert "$ref" in json.dumps(schema["properties"]["colour"])
    assert schema["$defs"]["Colour"]["enum"] == ["blue", "red"]


def test_types_that_cannot_be_parameters_are_named() -> None:
    class NotData(Job):
        pass

    with pytest.raises(BrokenPlugin, match="put @dataclass above"):
        params.fields(NotData)

    @dataclass
    class Odd(Job):
        pattern: "object()"  # type: ignore[valid-type] # noqa: UP037

    with pytest.raises(BrokenPlugin, match=r"Odd"):
        params.fields(Odd)

    @dataclass
    class Arrays(Job):
        data: np.ndarray

    with pytest.raises(BrokenPlugin, match=r"Arrays\.data"):
        params.fields(Arrays)
