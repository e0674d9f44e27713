"""compose.yaml and the Dockerfile say what the programs understand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mapreduce.cli.coordinator import main as coordinator
from mapreduce.cli.main import daf
from mapreduce.cli.worker import main as worker

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS: dict[str, click.Command] = {"daf": daf, "daf-coordinator": coordinator, "daf-worker": worker}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def image_commands() -> list[list[str]]:
    return [json.loads(found) for found in re.findall(r"CMD (\[.*\])", (ROOT / "Dockerfile").read_text())]


def parse(command: list[str]) -> None:
    """Lets click parse a command line without running it; raises click.UsageError when an option is unknown."""
    program, *arguments = command
    found = PROGRAMS[program]
    if isinstance(found, click.Group):
        name, chosen, arguments = found.resolve_command(click.Context(found), arguments)
        assert name and chosen
        found = chosen
    found.make_context(program, list(arguments))


@pytest.mark.parametrize("command", image_commands(), ids=" ".join)
def test_commands_of_the_image_are_understood(command: list[str]) -> None:
    parse(command)


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_commands_of_the_services_are_understood(service: str) -> None:
    parse(COMPOSE["services"][service].get("command") or image_commands()[-1])


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["daf-worker", "tcp://127.0.0.1:7077", "--no-such-option"])


def test_there_are_a_coordinator_and_two_workers() -> None:
    assert set(COMPOSE["services"]) == {"coordinator", "worker-1", "worker-2"}


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", (ROOT / "Dockerfile").read_text(), re.M)
    assert users and users[-1] not in {"root", "0"}
