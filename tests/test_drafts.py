"""Arrays made where they will lie: what a task yields is what its readers get, wherever it was made; nothing is copied
where the guess was right; and the same values are the same bytes, in place or not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapreduce import Job, drafts, recycle, shuffle, tasks
from mapreduce.allowance import OutputTooLarge, allowance
from mapreduce.blobs import SPARE, BlobStore, Reader
from mapreduce.blobwriter import BlobWriter
from mapreduce.wire import codec
from mapreduce.wire.codec import LARGE
from mapreduce.wire.messages import Ref
from tests.test_recycle import shm as shm

SIZE = 3 * LARGE


class Nothing(Job):
    """A job for the context's sake."""


def env(folder: Path) -> tasks.Env:
    store = BlobStore(folder)
    return tasks.Env(Nothing(), 1, 0, store, Reader(store, "here"), folder / "scratch")


def made(env: tasks.Env, pairs: Callable[[Any], Iterator[Any]], stage: int = 0, reduces: int = 4) -> tuple[bytes, Any]:
    """A map task that yields these: (hash, the pairs of each partition as a reader finds them)."""
    setup = {"state": None, "shared": {}, "splits": [0], "map": "map", "partition": "partition", "combine": None}
    loaded = tasks.LoadedStage.__new__(tasks.LoadedStage)
    loaded.__dict__ |= {"number": stage, "reduces": reduces, "setup": setup, "state": None, "shared": {}, "cache": {}}
    loaded._splits = [0]
    loaded._env = env
    env.job.map = lambda split, ctx: pairs(ctx)  # type: ignore[method-assign]
    result = tasks.run_map(env, loaded, 0)
    ref, found, offset = Ref(result.hash, result.size, "", stage, tasks.MAP), [], 0
    for size in result.sizes:
        view = env.reader.read(1, ref, offset, size)
        found.append([(k, np.array(v) if isinstance(v, np.ndarray) else v) for k, v in shuffle.pairs(view)])
        offset += size
    whole = env.reader.read(1, ref)
    assert len(whole) == result.size == env.store.path(1, stage, tasks.MAP, result.hash).stat().st_size
    return result.hash, found


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what is written by copying it, from now on."""
    sizes: list[int] = []
    append = BlobWriter._append

    def counted(self: BlobWriter, views: list[memoryview]) -> int:
        sizes.append(done := append(self, views))
        return done

    monkeypatch.setattr(BlobWriter, "_append", counted)
    return sizes


def filled(ctx: Any, value: int, size: int = SIZE, used: int | None = None) -> np.ndarray:
    array: np.ndarray = ctx.empty(size, np.uint8)
    array[:] = value
    return array[:used]


def in_order(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        yield part, filled(ctx, part)


def from_the_front(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        yield part, filled(ctx, part, used=SIZE - 20_000 * part - 9077)


def among_others(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        yield part, {"large": filled(ctx, part, used=SIZE - 5), "small": np.arange(part), "text": "x" * part}


def backwards(ctx: Any) -> Iterator[Any]:
    for part in (3, 1, 2, 0):
        yield part, filled(ctx, part)


def all_at_once(ctx: Any) -> Iterator[Any]:
    arrays = [filled(ctx, part, used=SIZE - 9) for part in range(4)]
    yield from enumerate(arrays)


def from_the_middle(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        yield part, filled(ctx, part)[4096 * part + 3 :]


def one_twice(ctx: Any) -> Iterator[Any]:
    array = filled(ctx, 7)
    for part in range(4):
        yield part, array


def never(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        filled(ctx, 9)
        yield part, np.full(SIZE, part, np.uint8)


def several_a_partition(ctx: Any) -> Iterator[Any]:
    for key in range(12):
        yield key, filled(ctx, key, used=SIZE - key)


def small_ones(ctx: Any) -> Iterator[Any]:
    for part in range(4):
        yield part, filled(ctx, part, LARGE - 1)
        yield part + 4, filled(ctx, part, LARGE)


PLACED = (in_order, from_the_front, among_others)
OTHERS = (backwards, all_at_once, from_the_middle, one_twice, never, several_a_partition, small_ones)


@pytest.mark.parametrize("pairs", [*PLACED, *OTHERS], ids=lambda pairs: pairs.__name__)
def test_what_was_yielded_is_read_and_has_the_same_bytes_however_it_was_made(shm: Path, tmp_path: Path, pairs: Any):
    """On a disk nothing is made in place, so that is the twin. The second time the file is a recycled one."""
    (tmp_path / "disk").mkdir()
    if recycle._file_system(tmp_path) == recycle._TMPFS:
        pytest.skip("the temporary folder is in memory")
    digest, expected = made(env(tmp_path / "disk"), pairs)
    place = env(shm)
    for stage in range(3):
        found, values = made(place, pairs, stage)
        assert found == digest
        for some, others in zip(values, expected, strict=True):
            assert [key for key, _ in some] == [key for key, _ in others]
            for (_, a), (_, b) in zip(some, others, strict=True):
                np.testing.assert_equal(a, b)
        place.store.release(1, [(stage, tasks.MAP)])
    assert not list(shm.rglob("*.tmp"))


@pytest.mark.parametrize("pairs", PLACED, ids=lambda pairs: pairs.__name__)
def test_arrays_in_the_order_of_partitions_are_not_copied(shm: Path, copied: list[int], pairs: Any):
    made(env(shm), pairs)
    assert sum(copied) < SIZE // 8


def test_a_wrong_guess_costs_a_copy(shm: Path, copied: list[int]):
    made(env(shm), backwards)
    assert sum(copied) > SIZE


def test_a_sealed_array_cannot_be_changed(shm: Path):
    kept = []

    def pairs(ctx: Any) -> Iterator[Any]:
        for part in range(4):
            kept.append(ctx.empty(SIZE, np.uint8))
            kept[-1][:] = part
            yield part, kept[-1]

    made(env(shm), pairs)
    with pytest.raises(ValueError, match="read-only"):
        kept[0][0] = 1


def test_by_no_view_can_a_sealed_array_be_changed(shm: Path):
    """One made before cannot be taken back: whoever writes through it is ended."""
    program = f"""
import pathlib, sys
from tests.test_drafts import env, filled, made, np
views = []
def pairs(ctx):
    for part in range(4):
        array = ctx.empty({SIZE} << part, np.uint8)
        views.append(array[7:])
        array[:] = part
        yield part, array
_, values = made(env(pathlib.Path({str(shm)!r})), pairs)
print([int(array[-1]) for [(_, array)] in values], [int(view[0]) for view in views], flush=True)
views[int(sys.argv[1])][0] = 9
print("changed")
"""
    for part in "03":
        done = subprocess.run([sys.executable, "-c", program, part], capture_output=True, text=True, timeout=60)
        assert done.stdout == "[0, 1, 2, 3] [0, 1, 2, 3]\n" and done.returncode == -signal.SIGSEGV, done.stderr


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what is hashed as a whole, after the task or by a reader, from now on."""
    sizes: list[int] = []
    digest = codec.digest

    def counted(part: Any) -> bytes:
        sizes.append(len(part))
        return digest(part)

    monkeypatch.setattr(codec, "digest", counted)
    return sizes


def told(steps: Sequence[slice], parts: int = 4) -> Callable[[Any], Iterator[Any]]:
    """A task that says of its arrays, in these steps, that they are final."""

    def pairs(ctx: Any) -> Iterator[Any]:
        for part in range(parts):
            array = ctx.empty(SIZE, np.uint8)
            array[:] = np.arange(SIZE) % (251 - part)
            for step in steps:
                ctx.final(array[step])
            yield part, array[: SIZE - 5]

    return pairs


END = SIZE - 5
ONE_PASS = {
    "at once": (slice(END),),
    "in steps": (slice(1000), slice(1000, LARGE + 3), slice(LARGE + 3, END)),
    "the front": (slice(1000), slice(1000, 5000)),
}
SEVERAL = {
    "never": (),
    "more than is yielded": (slice(SIZE),),
    "the end": (slice(1000, END),),
    "every other byte": (slice(0, END, 2),),
}


@pytest.mark.parametrize("parts", [4, 1])
@pytest.mark.parametrize("steps", [*ONE_PASS, *SEVERAL])
def test_what_is_final_is_hashed_once_and_the_hash_is_the_same(shm: Path, hashed: list[int], steps: str, parts: int):
    expected, _ = made(env(shm / "twin"), told((), parts), reduces=parts)
    hashed.clear()
    digest, values = made(env(shm / "place"), told((ONE_PASS | SEVERAL)[steps], parts), reduces=parts)
    assert digest == expected
    assert [len(array) for some in values for _, array in some] == parts * [END]
    read = 2 * parts  # one by one, and as a whole
    assert len(hashed) - read == (0 if steps in ONE_PASS else parts)


def test_final_is_no_matter_where_nothing_is_made_in_place(tmp_path: Path):
    if recycle._file_system(tmp_path) == recycle._TMPFS:
        pytest.skip("the temporary folder is in memory")
    assert made(env(tmp_path / "a"), told([slice(END)]))[0] == made(env(tmp_path / "b"), told(()))[0]


def test_a_file_that_is_long_enough_is_mapped_once_and_gets_no_pages_that_nobody_asked_for(
    shm: Path, monkeypatch: pytest.MonkeyPatch
):
    """However much was expected."""
    store, made = BlobStore(shm), []
    mapping = drafts.mapped
    monkeypatch.setattr(drafts, "mapped", lambda *given, **more: made.append(given) or mapping(*given, **more))
    store.put(1, 0, tasks.MAP, [bytes(8 * SIZE)])
    store.release(1, [(0, tasks.MAP)])
    draft = store.draft(1, 1, tasks.MAP, 9 * SIZE)
    for part in range(3):
        array = draft.empty((2 * SIZE,), np.dtype(np.uint8))
        assert array is not None
        array[:] = part
    _, fd, size = draft.hand_over()
    assert os.fstat(fd).st_size == size == 8 * SIZE and len(made) == 1
    os.close(fd)


def test_a_task_that_fails_leaves_nothing(shm: Path):
    def pairs(ctx: Any) -> Iterator[Any]:
        yield 0, filled(ctx, 1)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        made(env(shm), pairs)
    assert not [path for path in shm.rglob("*") if path.is_file()]


def test_the_bound_on_output_holds(shm: Path):
    before, allowance.limit = allowance.limit, 2 * SIZE
    allowance.begin()
    try:
        with pytest.raises(OutputTooLarge):
            made(env(shm), in_order)
    finally:
        allowance.limit = before
        allowance.begin()
    assert not [path for path in shm.rglob("*") if path.is_file()]


def test_a_full_file_system_is_an_error_and_no_signal(shm: Path, monkeypatch: pytest.MonkeyPatch):
    """The array comes from elsewhere then, and the writer says what is wrong."""
    write = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if offset + len(data) > 2 * SIZE:
            raise OSError(errno.ENOSPC, "no space left")
        return write(fd, data, offset)

    monkeypatch.setattr(drafts.os, "pwrite", full)
    _, values = made(env(shm), in_order)
    assert all((array == part).all() for part, [(_, array)] in enumerate(values))


def test_a_file_system_that_is_really_full_is_an_error_and_no_signal() -> None:
    program = f"""
import errno
from pathlib import Path
from mapreduce.working.memfs import made as file_system
from tests.test_drafts import env, in_order, made
for root in file_system({2 * SIZE}):
    try:
        made(env(Path(f"/proc/self/fd/{{root}}")), in_order)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if not done.returncode and not done.stdout:
        pytest.skip("no memory file system can be made here")
    assert done.stdout.strip() == "ENOSPC", (done.returncode, done.stderr)


def test_what_the_task_may_not_write_is_not_in_the_file_system(shm: Path) -> None:
    context = tasks.TaskContext(env(shm), tasks.MAP, 0, None, 0)
    before, allowance.limit = allowance.limit, 2 * SIZE
    allowance.begin()
    try:
        assert context.empty(3 * SIZE, np.uint8).size == 3 * SIZE
        assert sum(path.stat().st_size for path in shm.rglob("*") if path.is_file()) == 0
    finally:
        allowance.limit = before
        allowance.begin()
        context.close()


def test_a_limit_on_files_is_no_signal_either(shm: Path):
    program = f"""
import resource, signal
from tests.test_drafts import env, in_order, made
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, ({2 * SIZE}, {2 * SIZE}))
try:
    made(env(Path({str(shm)!r})), in_order)
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr


def test_reduce_tasks_have_it_too(shm: Path, copied: list[int]):
    place = env(shm)
    setup = {"reduce": "reduce", "shared": {}, "state": None}
    loaded = tasks.LoadedStage.__new__(tasks.LoadedStage)
    loaded.__dict__ |= {"number": 1, "reduces": 1, "setup": setup, "state": None, "shared": {}, "cache": {}}
    loaded._env = place
    digest, _ = made(place, in_order)
    size = place.store.path(1, 0, tasks.MAP, digest).stat().st_size
    copied.clear()

    def reduce(key: Any, values: Any, ctx: Any) -> Iterator[Any]:
        yield key, filled(ctx, key + 40, used=SIZE - 3)

    place.job.reduce = reduce  # type: ignore[method-assign]
    ref = Ref(digest, size, "", 0, tasks.MAP)
    result = tasks.run_reduce(place, loaded, 0, [(0, ref, 0, size // 4)])
    [(key, array)] = shuffle.pairs(place.reader.read(1, Ref(result.hash, result.size, "", 1, tasks.REDUCE)))
    assert key == 0 and len(array) == SIZE - 3 and (array == 40).all() and sum(copied) < SIZE // 8


def test_memory_that_is_no_draft(tmp_path: Path):
    """In planning, for small arrays, and on a disk, it is NumPy's."""
    context = tasks.TaskContext(env(tmp_path), tasks.PLAN, 0, None, 0)
    assert context.empty((2, 3)).shape == (2, 3) and context.draft is None
    context = tasks.TaskContext(env(tmp_path), tasks.MAP, 0, None, 0)
    assert context.empty(10, np.int8).dtype == np.int8 and context.draft is None


def test_tasks_that_wait_get_their_files_with_that_of_the_first(shm: Path):
    def files() -> int:
        return len([path for path in shm.rglob("*.tmp") if path.is_file()])

    store = BlobStore(shm)
    first = store.draft(1, 1, tasks.MAP, SIZE, waiting=2)
    assert files() == 3
    others = [store.draft(1, 1, tasks.MAP, SIZE, waiting=waiting) for waiting in (1, 0)]
    assert files() == 3
    for draft in (first, *others):
        draft.close()
    assert files() == 0


@pytest.mark.parametrize(
    "end", [lambda store: store.tidy(), lambda store: store.draft(1, 1, tasks.REDUCE, SIZE).close()]
)
def test_files_for_tasks_that_did_not_come_are_given_up(shm: Path, end: Callable[[BlobStore], None]):
    """No task waits any more, or the next is one of another unit."""
    store = BlobStore(shm)
    store.draft(1, 1, tasks.MAP, SIZE, waiting=1_000_000).close()
    assert len([path for path in shm.rglob("*.tmp") if path.is_file()]) == SPARE
    end(store)
    assert not [path for path in shm.rglob("*.tmp") if path.is_file()]
