"""Packets: values come back as they were, arrays without a copy, and no bytes whatever can do more than raise
BadPacket."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mapreduce.wire import codec

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 99) | st.tuples(st.integers(0, 9), st.text()), inner)
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(values)
def test_plain_data_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    back = codec.loads(codec.pack(value), check=True)
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize("dtype", ["?", "<i1", "<u2", ">i4", "<f2", "<f4", "<f8", "<c16", "S3", "<U2", "<M8[s]"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3, 4)])
def test_arrays_keep_dtype_shape_and_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.int64).astype(dtype).reshape(shape)
    back = codec.loads(codec.pack({"a": array}))["a"]
    assert back.dtype == array.dtype and back.shape == array.shape and back.tobytes() == array.tobytes()


def test_an_array_is_a_read_only_aligned_view_of_its_packet() -> None:
    packet = codec.pack([np.ones(7, np.uint8), np.arange(1000.0)])
    back = codec.loads(packet)[1]
    whole = np.frombuffer(packet, np.uint8)
    assert np.shares_memory(back, whole)
    assert (back.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) % codec.ALIGN == 0
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_writing_an_array_does_not_copy_it() -> None:
    array = np.zeros(1 << 20)
    assert any(
        np.shares_memory(np.frombuffer(part, np.uint8), array) for part in codec.dumps(array) if len(part) > 1 << 20
    )


def test_numpy_scalars_paths_and_complex_numbers_keep_their_types() -> None:
    value = [np.float32(1.5), np.int16(-3), Path("a/b"), 1 + 2j]
    back = codec.loads(codec.pack(value))
    assert back == value and [type(x) for x in back] == [np.float32, np.int16, type(Path()), complex]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"x": object()}, "builtins.object"),
        ([lambda: 0], "function"),
        ({1, 2}, "set"),
        (np.array([object()]), "dtype object"),
        (2**70, "64 bits"),
    ],
)
def test_what_cannot_be_sent_is_named(value: Any, named: str) -> None:
    with pytest.raises(codec.Unsendable, match=named):
        codec.dumps(value)


def test_object_dtype_is_refused_when_reading() -> None:
    packet = bytearray(codec.pack(np.zeros(2, "<f8")))
    at = packet.index(b"<f8")
    packet[at : at + 3] = b"|O8"
    with pytest.raises(codec.BadPacket, match="not allowed"):
        codec.loads(packet)


def test_packets_follow_one_another() -> None:
    data = codec.pack([1]) + codec.pack(np.arange(3)) + codec.pack("x")
    first, second, third = codec.packets(data, check=True)
    assert first == [1] and second.tolist() == [0, 1, 2] and third == "x"


def test_every_flipped_bit_is_noticed_when_checked() -> None:
    packet = codec.pack({"k": [1, 2, ("a", np.arange(5, dtype=np.uint8))]})
    for position in range(len(packet) * 8):
        broken = bytearray(packet)
        broken[position // 8] ^= 1 << position % 8
        with pytest.raises(codec.BadPacket):
            codec.loads(broken, check=True)


def test_a_packet_without_checksum_is_read_but_never_taken_for_checked() -> None:
    value = {"k": [1, ("a", 2.5)]}
    packet = b"".join(codec.dumps(value, checksum=False))
    assert codec.loads(packet) == value and codec.intact(codec.pack(value))
    assert not codec.intact(packet) and not codec.intact(codec.pack(value) + packet)
    with pytest.raises(codec.BadPacket, match="no checksum"):
        codec.loads(packet, check=True)
    with pytest.raises(codec.BadPacket):
        list(codec.packets(packet, check=True))


@pytest.mark.parametrize("at", [0, 64, 4032, 4096, 123 * 64])
def test_large_arrays_begin_at_a_page_of_their_file(at: int) -> None:
    """Wherever the packet begins; small ones do not care, and the next packet begins at a page again."""
    large = np.arange(codec.LARGE, dtype=np.uint8)
    value = {"small": large[:100], "large": large, "more": [large[:-1], (large, 7)]}
    packet = b"".join(codec.dumps(value, at=at))
    found = codec.loads(packet)
    np.testing.assert_equal(found, value)
    start = np.frombuffer(packet, np.uint8).ctypes.data
    for array in (found["large"], found["more"][1][0]):
        assert (array.ctypes.data - start + at) % codec.PAGE == 0
    assert (at + len(packet)) % codec.PAGE == 0 and codec.packet_size(packet) == len(packet)
    assert len(codec.dumps({"small": large[:-1]}, at=at)[0]) == 32


@pytest.mark.parametrize("sealed", [False, True])
def test_the_hash_of_a_large_part_stands_for_it_in_the_checksum(sealed: bool) -> None:
    large = np.random.default_rng(5).integers(0, 256, codec.LARGE + 3, np.uint8)
    value = {"large": large, "small": large[:-4], "text": "x" * codec.LARGE}
    packet = b"".join(codec.dumps(value, sealed=sealed))
    assert codec.intact(packet)
    np.testing.assert_equal(codec.loads(packet, check=True), value)
    asked: list[int] = []

    def known(part: memoryview) -> bytes:
        asked.append(len(part))
        return xxhash.xxh3_128_digest(part)

    assert b"".join(codec.dumps(value, sealed=sealed, digest=known)) == packet
    assert asked[1:] == [codec.LARGE + 3] and asked[0] > codec.LARGE, "of the head, and of the large array"
    for position in {*range(0, len(packet), 997), *range(200), *range(len(packet) - 200, len(packet))}:
        broken = bytearray(packet)
        broken[position] ^= 16
        assert not codec.intact(broken), position


def test_a_file_of_sealed_and_other_packets_has_a_name() -> None:
    sealed = [b"".join(codec.dumps([n] * n, sealed=True)) for n in (3, 50)]
    plain = [b"".join(codec.dumps([n] * n, checksum=False)) for n in (4, 60)]
    whole = sealed[0] + plain[0] + plain[1] + sealed[1]
    assert codec.fingerprint(whole) == xxhash.xxh3_128_digest(sealed[0][:32] + plain[0] + plain[1] + sealed[1][:32])
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1
        try:
            assert codec.fingerprint(broken) != codec.fingerprint(whole), position
        except codec.BadPacket:
            continue


def test_sealed_packets_are_named_by_their_headers() -> None:
    values = [[1, "two"], np.arange(3), {"x": 2.5}]
    sealed = [b"".join(codec.dumps(value, sealed=True)) for value in values]
    whole = b"".join(sealed)
    assert codec.fingerprint(whole) == xxhash.xxh3_128_digest(b"".join(packet[:32] for packet in sealed))
    assert codec.intact(whole) and next(codec.packets(whole, check=True)) == values[0]
    for position in range(len(whole) * 8):
        broken = bytearray(whole)
        broken[position // 8] ^= 1 << position % 8
        try:
            assert codec.fingerprint(broken) != codec.fingerprint(whole), position
        except codec.BadPacket:
            continue
    plainly = b"".join(codec.pack(value) for value in values)
    assert codec.fingerprint(plainly) == xxhash.xxh3_128_digest(plainly)


def test_every_truncation_is_noticed() -> None:
    packet = codec.pack({"k": np.arange(20)})
    for size in range(len(packet)):
        with pytest.raises(codec.BadPacket):
            codec.loads(packet[:size])


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_random_bytes_only_raise_bad_packet(data: bytes) -> None:
    with pytest.raises(codec.BadPacket):
        codec.loads(data)


def test_mutated_packets_only_raise_bad_packet() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    packet = codec.pack({"k": [1.5, "text", (np.arange(9, dtype="<i4"), b"x"), {1: np.float32(2)}, Path("p")]})
    for _ in range(20_000):
        broken = bytearray(packet)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(16, len(broken))] = rng.randrange(256)
        try:
            codec.loads(broken)
        except codec.BadPacket:
            pass


def test_a_header_that_claims_the_moon_allocates_nothing() -> None:
    packet = bytearray(codec.pack([1]))
    packet[4:8] = (2**31).to_bytes(4, "little")
    with pytest.raises(codec.BadPacket, match="contradicts"):
        codec.loads(packet)
