"""Frames to messages and back: what is a message survives the way; what is not raises WireError, and only that."""

from __future__ import annotations

import random
import resource

import msgspec
import pytest

from mapreduce.errors import WireError
from mapreduce.wire import messages as m
from mapreduce.wire import typed

KEY = m.TaskKey(1, 2, 1, 3, 4)
NODE = m.Node("n", "host", "/data", "tcp://127.0.0.1:1")
REF = m.Ref(b"h" * 16, 10, "n", 2, 1)
ERROR = m.Error("exception", "ValueError", "no", exit_code=3)

TO_COORDINATOR = [
    m.Hello(m.PROTOCOL, "0.1", "3.11", "w", NODE, 2, {"wordcount": "1"}, 77, (KEY,)),
    m.Results(1, 2, 1, (m.Done(0, 1, b"h" * 16, 5, (1, 2), {"a": 1}), m.Done(1, 1))),
    m.Planned(KEY, "s", 3, 2, b"setup", REF, (REF,), False),
    m.Finished(KEY, b"value", {"a": 1}),
    m.Failed(KEY, ERROR, ("n",)),
    m.Beat((KEY,), (m.Progress(KEY, 1.0, 2.0),), 5),
    m.Draining(),
    m.Bye("done"),
    m.ClientHello(m.PROTOCOL, "0.1"),
    m.Submit("t", "wordcount", b"params"),
    m.Forget(7),
    m.Cancel(1, "because"),
    m.Watch(1),
    m.Unwatch(1),
    m.ListJobs(),
    m.ListWorkers(),
    m.Explain(1),
    m.Ping(),
]


@pytest.mark.parametrize("message", TO_COORDINATOR, ids=lambda message: type(message).__name__)
def test_round_trip(message: m.Message) -> None:
    assert typed.at_coordinator(typed.encode(message)) == message


def test_every_message_to_the_coordinator_is_tried_above() -> None:
    union = m.FromWorker | m.FromClient
    assert {type(message) for message in TO_COORDINATOR} == set(union.__args__)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "truncated"),
        (b"\xc1", "malformed|invalid"),
        (typed.encode(m.Pong("c", 1.0, 1, 1, 1)), "tag|invalid value"),
        (msgspec.msgpack.encode(["submit", "t"]), "length"),
        (msgspec.msgpack.encode(["cancel", -1]), ">= 0"),
        (msgspec.msgpack.encode(["cancel", "one"]), "Expected `int`"),
        (msgspec.msgpack.encode(["bye", "x" * 256]), "length <= 255"),
        (msgspec.msgpack.encode(["watch", 2**60]), "<= 281474976710656"),
        (msgspec.msgpack.encode({"tag": "ping"}), "Expected `array`"),
        (msgspec.msgpack.encode(["bye", "x"]).replace(b"x", b"\xff"), "utf"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(frame: bytes, why: str) -> None:
    with pytest.raises(WireError, match=f"(?i){why}"):
        typed.at_coordinator(frame)


def test_a_frame_beyond_the_limit_is_not_decoded() -> None:
    decoder: typed.Decoder[m.Bye] = typed.Decoder(m.Bye, "a peer", limit=10)
    assert decoder(typed.encode(m.Bye("x"))) == m.Bye("x")
    with pytest.raises(WireError, match="limit is 10"):
        decoder(typed.encode(m.Bye("x" * 20)))


def test_a_promised_length_is_not_allocated() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for length in (b"\xdd\xff\xff\xff\xff", b"\xdd\x0f\xff\xff\xff", b"\xdf\x0f\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        for frame in (length, b"\x95\xa7results\x01\x02\x01" + length, b"\x99\xa5hello\x01\xa1x\xa1y\xa1z" + length):
            with pytest.raises(WireError):
                typed.at_coordinator(frame)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_nesting_does_not_overflow() -> None:
    with pytest.raises(WireError):
        typed.at_coordinator(b"\x91" * 1_000_000)


def test_mutated_frames_raise_nothing_else() -> None:
    """Bytes replaced, cut, doubled and inserted at random."""
    seed = 20
    print(f"seed {seed}")
    rng = random.Random(seed)
    frames = [typed.encode(message) for message in TO_COORDINATOR]
    refused = 0
    for _ in range(30_000):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(frame) + 1)
            match rng.randrange(4):
                case 0:
                    frame[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del frame[at : at + rng.randint(1, 5)]
                case 2:
                    frame[at:at] = rng.randbytes(rng.randint(1, 5))
                case _:
                    frame[at:at] = frame[: rng.randint(1, 20)]
        try:
            typed.at_coordinator(bytes(frame))
        except WireError:
            refused += 1
    assert refused > 15_000


def test_clip_keeps_both_ends() -> None:
    assert typed.clip("short") == "short"
    clipped = typed.clip("begin" + "x" * 10_000 + "end", 200)
    assert len(clipped) <= 200 and clipped.startswith("begin") and clipped.endswith("end") and "left out" in clipped
    assert typed.clip("x" * 50, 10) == typed.clip("x" * 50, 10)[:10]
