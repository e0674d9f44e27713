"""Bad networks between all that talks over TCP: the job's bits are those of a good one, and silence is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mapreduce import plugins
from mapreduce.blobs import BlobLost, BlobStore
from mapreduce.blobserver import BlobServer, Fetcher
from mapreduce.client import Client
from mapreduce.engines.cluster import ClusterEngine
from mapreduce.engines.inline import InlineEngine
from mapreduce.errors import Unreachable
from mapreduce.keys import make
from mapreduce.wire import codec
from mapreduce.wire.messages import Node, Ref
from tests.process.proxy import Faults, Proxy
from tests.process.test_kills import bits
from tests.process.test_liar import wait_for_workers
from tests.worker.jobs import Letters
from tests.worker.scripted import JOBS, start_worker

ROOT = Path(__file__).parents[2]
SEED = 20_261_122
JOB = Letters(["abcde" * 50, "xyz" * 30, "hello"] * 20, sleep=0.02)
TROUBLE = {
    "slow": Faults(delay=0.03),
    "bytewise": Faults(slice=0.3),
    "cut": Faults(cut=0.02, delay=0.005),
    "all": Faults(delay=0.01, cut=0.04, slice=0.05),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys") / "keys"
    for role, name in (("coordinator", "coordinator"), ("worker", "worker"), ("client", "user")):
        make(folder, role, name, ())
    return folder


@pytest.fixture
def cluster(tmp_path, request):
    """(endpoint, start): a coordinator on TCP, and a function that starts a worker that connects where it is told."""
    folder = getattr(request, "param", "") and request.getfixturevalue("keys")
    command = [sys.executable, "-m", "mapreduce.cli.coordinator", "--bind", "tcp://127.0.0.1:0", "--announce"]
    command += ["--store", "memory://", "--heartbeat", "0.4", "--lease", "2", "--log-level", "warning"]
    command += ["--keys", str(folder)] if folder else []
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environ)]
    endpoint = json.loads(processes[0].stdout.readline())["endpoint"]

    def start(name: str, connect: str) -> subprocess.Popen[bytes]:
        own = str(folder / "worker.secret") if folder else ""
        processes.append(start_worker(connect, tmp_path / name, name=name, keys=own))
        return processes[-1]

    yield endpoint, start
    for process in processes:
        process.kill()
        process.wait()
    processes[0].stdout.close()


def run_through(endpoint: str, start, faults: Faults, keys: Path | None = None) -> tuple[str, dict[str, int]]:
    """The bits of the job when both workers and the client connect through proxies with these faults; and what the
    proxies did."""
    user = keys / "user.secret" if keys else ""
    with Proxy(endpoint, SEED) as workers, Proxy(endpoint, SEED + 1) as clients:
        for number in range(2):
            start(f"w{number}", workers.endpoint)
        with Client(endpoint, keys=user) as client:
            end = time.monotonic() + 60
            while len(client.workers()) < 2:
                assert time.monotonic() < end
        workers.faults = clients.faults = faults
        plugins.add(JOBS)
        engine = ClusterEngine(clients.endpoint, patience=40, keys=user)
        result = engine.run(plugins.load("letters")(texts=JOB.texts, sleep=JOB.sleep))
        workers.faults = clients.faults = Faults()
        return bits(result), {name: workers.happened[name] + clients.happened[name] for name in workers.happened}


@pytest.fixture(scope="module")
def expected():
    return bits(InlineEngine().run(Letters(JOB.texts)))


@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_bits_are_the_same_whatever_the_network_does(cluster, expected, trouble):
    endpoint, start = cluster
    found, happened = run_through(endpoint, start, TROUBLE[trouble])
    assert found == expected, f"seed {SEED}"
    faults = TROUBLE[trouble]
    assert not faults.cut or happened["cut"], "the proxy cut nothing: the test shows nothing"
    assert not faults.slice or happened["slice"]


@pytest.mark.parametrize("cluster", ["keys"], indirect=True)
def test_with_keys_wrong_bytes_end_the_connection_and_nothing_else(cluster, expected, keys):
    endpoint, start = cluster
    found, happened = run_through(endpoint, start, Faults(corrupt=0.02, delay=0.005), keys)
    assert found == expected, f"seed {SEED}"
    assert happened["corrupt"]


def test_a_half_open_connection_is_found_by_its_silence_and_heals(cluster, expected):
    """A worker's packets vanish without a word: its tasks go to others; when the network is back, so is the worker."""
    endpoint, start = cluster
    with Proxy(endpoint, SEED) as proxy:
        start("far", proxy.endpoint)
        start("near", endpoint)
        wait_for_workers(endpoint, 2)
        with Client(endpoint) as client:
            plugins.add(JOBS)
            job = plugins.load("letters")(texts=JOB.texts, sleep=0.05)
            number = client.submit("letters", _packed(job), version=plugins.version("letters"))
            while client.update(number).maps_done < 5:
                time.sleep(0.02)
            proxy.faults = Faults(blackhole=True)
            began = time.monotonic()
            while "far" in {worker.worker for worker in client.workers()}:
                assert time.monotonic() - began < 20, "a silent worker is given up when its lease ends"
                time.sleep(0.05)
            update = client.wait(number, 60)
            assert dict(update.counters) == {"texts": len(job.texts)} and update.retries > 0
            proxy.faults = Faults()
            wait_for_workers(endpoint, 2)


def test_a_client_in_a_blackhole_gives_up_in_its_own_time(cluster):
    endpoint, _ = cluster
    with Proxy(endpoint, SEED) as proxy, Client(proxy.endpoint, patience=3) as client:
        client.ping()
        proxy.faults = Faults(blackhole=True)
        began = time.monotonic()
        with pytest.raises(Unreachable):
            client.ping()
        assert 2 < time.monotonic() - began < 30


@pytest.mark.parametrize("trouble", [*TROUBLE, "corrupt"])
def test_blobs_come_right_or_not_at_all(tmp_path, trouble):
    """Whole blobs and segments, small and large, through a bad network; wrong bytes are noticed without keys too."""
    faults = {**TROUBLE, "corrupt": Faults(corrupt=0.004)}[trouble]
    faults = Faults(faults.delay / 3, faults.cut / 4, faults.corrupt, faults.slice / 30)
    store = BlobStore(tmp_path / "there")
    server = BlobServer(store.root, "tcp://127.0.0.1:0")
    fetcher = Fetcher(BlobStore(tmp_path / "here"), patience=5, retry=0.3)
    wrong = 0
    with Proxy(server.address, SEED, faults) as proxy:
        node = Node("there", "there", "", proxy.endpoint)
        for number, size in enumerate((1, 1000, 900_000, 3 << 20, 5 << 20)):
            parts = [codec.pack(os.urandom(size)), codec.pack(os.urandom(size // 4)), codec.pack(b"end")]
            digest, total = store.put(1, 0, number, parts)
            ref = Ref(digest, total, "there", 0, number)
            wants = [(0, total), (len(parts[0]), len(parts[1]))]
            for offset, length in wants:
                for _ in range(50):
                    try:
                        found = fetcher.fetch(node, 1, ref, offset, length)
                    except BlobLost:
                        wrong += 1
                        continue
                    assert bytes(found) == b"".join(parts)[offset : offset + length], f"seed {SEED}"
                    break
                else:
                    pytest.fail(f"fifty tries were not enough for {length} bytes, seed {SEED}")
    fetcher.close()
    server.close()
    assert not faults.cut or proxy.happened["cut"]
    assert not faults.corrupt or proxy.happened["corrupt"]


def _packed(job) -> bytes:
    from mapreduce import params

    return params.pack(job)
