"""The programs with keys, as an operator starts them: on an address of this machine that other hosts can reach."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mapreduce.blobs import BlobLost
from mapreduce.blobserver import Fetcher
from mapreduce.client import Client
from mapreduce.engines.cluster import ClusterEngine
from mapreduce.working import host
from plugins.wordcount import WordCount
from tests.cli.conftest import Daf, one_object
from tests.security.ring import own_address

ADDRESS = own_address()
needs_address = pytest.mark.skipif(not ADDRESS, reason="this machine has no address but loopback")


@pytest.fixture
def coordinator(start: Any, tmp_path: Path, folder: Path) -> Callable[[str], str]:
    """Starts a coordinator with keys; returns its endpoint."""

    def begin(bind: str) -> str:
        with open(tmp_path / "coordinator.log", "w") as log:
            options = ["--bind", bind, "--store", "memory://", "--announce", "--keys", folder]
            process = start(*options, program="daf-coordinator", stderr=log)
        return str(json.loads(process.stdout.readline())["endpoint"])

    return begin


@pytest.fixture
def cluster(start: Any, tmp_path: Path, folder: Path, coordinator: Callable[[str], str]) -> str:
    """A coordinator and two workers that map nothing of each other's, all with keys of their own, beyond loopback."""
    endpoint = coordinator(f"tcp://{ADDRESS}:0")
    for name in ("worker", "worker2"):
        options = ["--slots", "1", "--name", name, "--host", f"host-of-{name}", "--data-dir", tmp_path / name]
        with open(tmp_path / f"{name}.log", "w") as log:
            start(endpoint, *options, "--keys", folder / f"{name}.secret", program="daf-worker", stderr=log)
    with Client(endpoint, keys=folder / "user.secret") as client:
        deadline = time.monotonic() + 30
        while len(client.workers()) < 2:
            assert time.monotonic() < deadline
    return endpoint


@pytest.fixture
def books(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"book-{number}.txt" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_text(f"word{number} common\n" * (number + 1))
    return paths


COUNTS = {"common": 36} | {f"word{number}": number + 1 for number in range(8)}


@needs_address
@pytest.mark.parametrize("bind", ["tcp://{}:0", "tcp://0.0.0.0:0", "tcp://*:0"])
def test_beyond_loopback_only_with_keys(daf: Daf, folder: Path, coordinator: Callable[[str], str], bind: str) -> None:
    refused = daf("--bind", bind.format(ADDRESS), "--store", "memory://", program="daf-coordinator")
    assert refused.returncode == 10 and "daf keys new" in refused.stderr and "--keys" in refused.stderr
    endpoint = coordinator(bind.format(ADDRESS))
    port = endpoint.rpartition(":")[2]
    done = daf("ping", f"tcp://{ADDRESS}:{port}", "--json", DAF_KEYS=str(folder / "reader.secret"))
    assert done.returncode == 0 and one_object(done.stdout)["workers"] == 0, done.stderr


@needs_address
def test_a_worker_serves_blobs_beyond_loopback_only_with_keys(daf: Daf) -> None:
    done = daf("tcp://127.0.0.1:1", "--blob-bind", f"tcp://{ADDRESS}:0", program="daf-worker")
    assert done.returncode == 10 and "daf keys new" in done.stderr


@needs_address
def test_a_word_count_with_keys(daf: Daf, cluster: str, folder: Path, books: list[Path], tmp_path: Path) -> None:
    done = daf("--keys", folder / "user.secret", "run", "wordcount", *books, "--engine", cluster, "--json")
    assert done.returncode == 0, done.stderr + (tmp_path / "worker.log").read_text()
    assert dict(one_object(done.stdout)["value"]) == COUNTS
    listed = daf("jobs", "--json", "-c", cluster, DAF_KEYS=str(folder / "reader.secret"))
    assert [job["owner"] for job in one_object(listed.stdout)["jobs"]] == ["user"]


@needs_address
def test_blobs_travel_between_nodes_with_keys(
    cluster: str, folder: Path, books: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reduces read maps of the other node, and the result's pairs come to a client that shares no host with either."""
    result = ClusterEngine(cluster, keys=folder / "user.secret").run(WordCount(paths=books))
    assert {word.decode(): count for word, count in result} == COUNTS
    with Client(cluster, keys=folder / "user.secret") as client:
        nodes = client.update(result.job).nodes
    assert nodes and all(node.address.startswith(f"tcp://{ADDRESS}:") and len(node.key) == 40 for node in nodes), nodes
    monkeypatch.setattr("mapreduce.engines.cluster.Fetcher", partial(Fetcher, patience=3.0, retry=1.0))
    pairs = ClusterEngine(cluster, keys=folder / "submitter.secret").run(WordCount(paths=books))
    with pytest.raises(BlobLost):
        list(pairs)


def test_read_only_keys_cannot_cancel(
    daf: Daf, folder: Path, coordinator: Callable[[str], str], books: list[Path]
) -> None:
    at = {"DAF_COORDINATOR": coordinator("tcp://127.0.0.1:0")}
    user, reader, boss = ({"DAF_KEYS": str(folder / f"{name}.secret")} | at for name in ("user", "reader", "boss"))
    assert daf("submit", "wordcount", books[0], **user).stdout == "1\n"
    refused = daf("cancel", "1", **reader)
    assert refused.returncode == 6 and "may not cancel job 1" in refused.stderr
    assert daf("submit", "wordcount", books[0], **reader).returncode == 6
    assert daf("cancel", "1", **boss).stdout == "job 1 (wordcount): cancelled\n"


def test_a_worker_with_a_clients_key_does_not_start(daf: Daf, folder: Path) -> None:
    done = daf("tcp://127.0.0.1:1", "--keys", folder / "user.secret", program="daf-worker")
    assert done.returncode == 10 and "0 secret keys of the role worker" in done.stderr


def test_without_keys_nobody_answers_and_the_reason_is_said(daf: Daf, coordinator: Callable[[str], str]) -> None:
    done = daf("ping", coordinator("tcp://127.0.0.1:0"), "--timeout", "1")
    assert done.returncode == 7 and "--keys or DAF_KEYS" in done.stderr


def test_the_local_engine_needs_no_keys(daf: Daf, folder: Path, books: list[Path]) -> None:
    done = daf("run", "wordcount", *books, "--workers", "1", "--json", DAF_KEYS=str(folder))
    assert done.returncode == 0 and dict(one_object(done.stdout)["value"]) == COUNTS


def test_the_commands_for_keys(daf: Daf, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    for role, name in (("coordinator", ""), ("worker", "w1"), ("client", "ann")):
        made = daf("keys", "new", folder, "--role", role, *(["--name", name] if name else []))
        assert made.returncode == 0 and f"{name or role}.secret" in made.stdout, made.stderr
    options = ["--role", "client", "--name", "bob", "--scope", "read,admin", "--json"]
    bob = one_object(daf("keys", "new", folder, *options).stdout)
    assert bob["scopes"] == ["admin", "read"] and "secret" not in bob
    again = daf("keys", "new", folder, "--role", "worker", "--name", "w1")
    assert again.returncode == 2 and "w1.secret exists" in again.stderr
    (folder / "w1.secret").unlink()
    listed = {key["name"]: key for key in one_object(daf("keys", "list", folder, "--json").stdout)["keys"]}
    assert listed["ann"]["scopes"] == ["read", "submit"] and listed["bob"]["public"] == bob["public"]
    assert {name for name, key in listed.items() if key["secret"]} == {"ann", "bob", "coordinator"}
    assert daf("keys", "list", folder).stdout.splitlines()[0].split()[:3] == ["NAME", "ROLE", "SCOPES"]
    wrong = daf("keys", "new", folder, "--role", "worker", "--name", "x", "--scope", "submit")
    assert wrong.returncode == 2 and "roles are kept apart" in wrong.stderr


@needs_address
def test_all_addresses_are_announced_as_one() -> None:
    assert host.reachable("tcp://0.0.0.0:5", f"tcp://{ADDRESS}:7077") == f"tcp://{ADDRESS}:5"
    assert host.reachable("tcp://0.0.0.0:5", "tcp://127.0.0.1:7077") == "tcp://127.0.0.1:5"
    assert host.reachable("tcp://127.0.0.1:5", f"tcp://{ADDRESS}:7077") == "tcp://127.0.0.1:5"
    assert host.blob_bind(f"tcp://{ADDRESS}:7077", keyed=True) == "tcp://0.0.0.0:0"
    assert host.blob_bind(f"tcp://{ADDRESS}:7077", keyed=False) == "tcp://127.0.0.1:0"
    assert host.blob_bind("tcp://127.0.0.1:7077", keyed=True) == "tcp://127.0.0.1:0"
