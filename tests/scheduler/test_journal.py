"""Records survive the store, and what is not a record is refused by name."""

import msgpack
import pytest

from mapreduce.scheduler import journal
from mapreduce.scheduler.model import Blob, JobSpec, JobState, Limits, Output, StagePlan, TaskError

HERE = Output(Blob(b"h" * 16, 12), "n", (4, 8), 3, 1)
RECORDS = [
    journal.Mark(3, 9),
    journal.Admitted(1, JobSpec(1, "x", b"\x00p", "2", 7, -1, 2.5, "me", Limits(5, 1.5, 1 << 30, 7)), "token", 1e9),
    journal.Planned(1, 2, StagePlan("s", 3, 4, b"setup", HERE, (HERE, Output()), False), 3, {"n": 1}, 2),
    journal.Done(1, 2, 1, "n", (0, 5), (HERE.blob, None), ((4, 8), ()), {"n": 2}),
    journal.Done(1, 2, 1, "n", (0, 5)),
    journal.Lost(1, 2, (0, 1), (3,)),
    journal.Charged(1, 2, 1, 0, "w", 65537),
    journal.Skipped(1, 2, 5, TaskError("exception", "T", "m", "tb", "w", "in", None, None, 5, "log")),
    journal.Rewound(1, 4, 1),
    journal.Ended(1, JobState.DONE, 3, b"value", None, "", {"n": 3}, (HERE, Output()), 1.25, 2, 1),
    journal.Ended(
        1, JobState.FAILED, 3, b"", TaskError("crash", "T", "m", "tb", "w", "in", 1, 9, 5, "log"), "", {}, (), 0.5
    ),
    journal.Lasted(1, 12.5, 1e6, "a boot"),
    journal.Trimmed(1),
    journal.Forgotten(1),
]


def test_a_job_admitted_before_splits_could_be_set_aside_is_read():
    tag, version, job, spec, *rest = journal.pack(RECORDS[1])
    old = (tag, version, job, (*spec[:8], spec[8][:3]), *rest)
    assert journal.unpack(old).spec.limits == Limits(5, 1.5, 1 << 30, 0)


def test_every_kind_of_record_is_here():
    assert {type(record) for record in RECORDS} == set(journal.Record.__args__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_survives_the_store(record):
    packed = msgpack.unpackb(msgpack.packb(journal.pack(record)), use_list=True)
    assert journal.unpack(packed) == record


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ((), "not a journal record"),
        (("strange", 1, 2), "not a journal record: .'strange'"),
        (7, "not a journal record: 7"),
        (("mark", 9, 1, 2), "version 9, this release reads 1"),
        (("mark", 1), "'mark' is damaged"),
        (("planned", 1, 1, 2, "no plan", 0, {}, 0), "'planned' is damaged"),
    ],
)
def test_what_is_no_record_is_refused(packed, message):
    with pytest.raises(ValueError, match=message):
        journal.unpack(packed)
