"""The conversation of a worker and its slot: the coordinator's own messages, handed on, and two that only a slot
says."""

from __future__ import annotations

from ..wire.messages import Abort, Assign, Failed, Finished, Message, Planned, Progress, Release, Results, StageInfo
from ..wire.typed import Decoder
from .frames import LIMIT


class Loaded(Message, tag="loaded", frozen=True):
    """A slot's first message: it has started."""


class Said(Message, tag="said", frozen=True):
    """What the running task says of its progress."""

    progress: Progress


FromSlot = Loaded | Said | Results | Planned | Finished | Failed
ToSlot = StageInfo | Assign | Abort | Release

at_slot: Decoder[ToSlot] = Decoder(ToSlot, "the worker", LIMIT)
from_slot: Decoder[FromSlot] = Decoder(FromSlot, "a slot", LIMIT)
