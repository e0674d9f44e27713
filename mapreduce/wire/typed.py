"""Messages to frames and back, with limits.

msgspec checks a frame field by field while it decodes: an unknown tag, a missing field, a wrong type, a name that is
too long or a number out of range never becomes an object. Depth is bounded by the message types themselves, and a
length that promises more than the frame holds is refused before anything is allocated. What is left to bound is the
frame's size: `MAX_*` here, which sockets.py also hands to libzmq, so that a larger frame is dropped (and its sender cut
off) before it is read.

A decoder raises `WireError` for anything that is not a message of its conversation, and nothing else.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ..errors import WireError
from . import messages

MAX_CONTROL = 64 << 20
"""Bytes of one message to the coordinator: a plan's setup, a job's value and a batch of results have to fit."""
MAX_ASSIGN = 1 << 30
"""Bytes of one message from the coordinator, which workers and clients trust: a reduce task names every map output it
reads."""

MAX_TEXT = 262_144
MAX_NAME = 255

_encoder = msgspec.msgpack.Encoder()
T = TypeVar("T")


class Decoder(Generic[T]):
    """Decodes the messages of one conversation: `Decoder(ToWorker, "the coordinator")`. `sender` is named in errors."""

    def __init__(self, union: Any, sender: str, limit: int = MAX_CONTROL):
        self._decode = msgspec.msgpack.Decoder(union).decode
        self._sender = sender
        self.limit = limit

    def __call__(self, frame: bytes | memoryview) -> T:
        """One message. Raises WireError when the frame is not one."""
        if len(frame) > self.limit:
            raise WireError(f"{self._sender} sent {len(frame)} bytes in one message; the limit is {self.limit}")
        try:
            return self._decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise WireError(f"{self._sender} sent something that is not a message: {error}") from None


def encode(message: messages.Message) -> bytes:
    """The frame of one message. Values are ours, so limits are not checked again here; use `clip` for text of unknown
    length."""
    return _encoder.encode(message)


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Text that fits a field: the beginning and the end are kept, the middle is what goes."""
    if len(text) <= limit:
        return text
    gap = f" … {len(text) - limit} characters left out … "
    keep = max(limit - len(gap), 0)
    return (text[: keep - keep // 2] + gap + text[len(text) - keep // 2 :])[:limit]


at_coordinator: Decoder[Any] = Decoder(messages.FromWorker | messages.FromClient, "a peer")
at_worker: Decoder[Any] = Decoder(messages.ToWorker, "the coordinator", MAX_ASSIGN)
at_client: Decoder[Any] = Decoder(messages.ToClient | messages.Reregister, "the coordinator", MAX_ASSIGN)
at_blobserver: Decoder[messages.Fetch] = Decoder(messages.Fetch, "a peer", 4096)
at_fetcher: Decoder[messages.Chunk] = Decoder(messages.Chunk, "a blob server", 4096)
