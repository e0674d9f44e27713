"""A mutator with a seed: what bytes and numbers of a file turn into when it is damaged, cut, or meant ill."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Sequence

NUMBERS = [0, 1, -1, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [
    b"nan",
    b"inf",
    b"-1",
    b"1e308",
    b"1e999",
    b"0",
    b"99999999999999999999",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"\xff",
]
_TOKEN = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|true|false|null|\"[^\"]{0,60}\"")


def mutated(rng: random.Random, seeds: Sequence[bytes], text: bool = False) -> bytes:
    """One to four changes to one of the seeds."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        if text and rng.random() < 0.5:
            replace_token(rng, data)
        else:
            change(rng, data, seeds)
    return bytes(data)


def replace_token(rng: random.Random, data: bytearray) -> None:
    """A number or a word becomes another."""
    found = list(_TOKEN.finditer(bytes(data)))
    if found:
        start, end = rng.choice(found).span()
        data[start:end] = rng.choice(WORDS)


def change(rng: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    match rng.randrange(8):
        case 0 if data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + 1] = bytes([rng.randrange(256)])
        case 2:
            del data[at : at + rng.choice((1, 2, 4, 8, 64))]
        case 3:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))
        case 4:
            del data[at:]
        case 5:
            size, form = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
            order = rng.choice("<>")
            data[at : at + size] = struct.pack(order + form, rng.choice(NUMBERS) % (1 << 8 * size))
        case 6:
            end = at + rng.choice((1, 8, 32, 200))
            data[at:at] = data[at:end] * rng.choice((1, 2, 16))
        case _:
            other = rng.choice(seeds)
            cut = rng.randrange(len(other) + 1)
            data[at:] = other[cut:]
