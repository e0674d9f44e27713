"""Where a worker lives: the host's id, and the node's data directory with its name.

A data directory belongs to one node. It holds `blobs/` (see blobs.py), `scratch/` (spills and private folders of
tasks) and `name`, so that a worker that comes back finds its node again; several workers may share it. A directory
that DAF made for itself is temporary: its makers hold a lock on `lock` while they live, and whoever makes the next
one deletes those that nobody locks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .settings import DATA_DIR

_SHM = Path("/dev/shm")
_SHM_ROOM = 1 << 30
VARIABLE = DATA_DIR


def host_id() -> str:
    """Names this running host: equal for two processes exactly when they may map each other's files (containers that
    share a kernel differ by their host name; give `--host` where they share the data directory too)."""
    parts = [socket.gethostname()]
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            parts.append(Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def blob_bind(coordinator: str, keyed: bool) -> str:
    """Where to serve blobs when nobody said: on loopback, unless there are keys and a coordinator on another host."""
    from ..wire.sockets import is_local

    if not keyed or is_local(coordinator):
        return "tcp://127.0.0.1:0"
    return "tcp://[::]:0" if "[" in coordinator else "tcp://0.0.0.0:0"


def reachable(address: str, coordinator: str) -> str:
    """An address that others can connect to, of one that is bound: all addresses become the one by which this host
    reaches the coordinator (nothing is sent to find it)."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or host not in ("0.0.0.0", "[::]", "*"):
        return address
    there, _, there_port = coordinator.removeprefix("tcp://").rpartition(":")
    if not coordinator.startswith("tcp://"):
        return f"tcp://127.0.0.1:{port}"
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            there.strip("[]"), int(there_port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            own = probe.getsockname()[0]
    except (OSError, ValueError):  # no route, or no such name: say what is bound, as it is
        return address
    return f"tcp://[{own}]:{port}" if ":" in own else f"tcp://{own}:{port}"


class DataDirectory:
    """A node's data directory. `path` of None makes a temporary one in `base`: the memory file system
    when there is room, unless it is given.

    Attributes:
        room: bytes that are free for blobs in a file system that can be moved into (`move_into`); 0: blobs stay.

    Raises:
        OSError: it cannot be made or written.
    """

    def __init__(self, path: Path | None = None, base: Path | None = None):
        self.temporary = path is None
        self.room = 0
        self._memory = -1
        if path is None:
            base = base or _temporary_base()
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_stale(base)
            path = Path(tempfile.mkdtemp(prefix=_prefix(), dir=base))
            if base == _SHM and not os.environ.get(VARIABLE):
                self.room = shutil.disk_usage(base).free
        else:
            path = path.absolute()
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._owner = os.getpid()
        if not self.temporary and _alone(self._lock):
            for left in ("scratch", "blobs/recycled"):  # what killed tasks left behind
                shutil.rmtree(path / left, ignore_errors=True)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.blobs = path / "blobs"
        self.scratch = path / "scratch"
        for folder in (self.blobs, self.scratch):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.node = self._name()

    def move_into(self, fd: int) -> None:
        """Keep blobs in the file system behind this descriptor (see memfs.py), as long as this process lives. Call it
        before there are any."""
        place = f"/proc/{os.getpid()}/fd/{fd}"
        try:
            os.stat(f"{place}/")
        except OSError:  # no /proc, or one that hides us
            os.close(fd)
            return
        self._memory = fd
        self.blobs.rmdir()
        self.blobs.symlink_to(place)

    def _name(self) -> str:
        file = self.path / "name"
        try:
            return file.read_text().strip()
        except FileNotFoundError:
            name = f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}"
        draft = self.path / f"name.{secrets.token_hex(4)}"
        draft.write_text(name)
        try:
            os.link(draft, file)
        except FileExistsError:
            name = file.read_text().strip()
        finally:
            draft.unlink()
        return name

    def close(self) -> None:
        """Let go of the directory; a temporary one is deleted."""
        if self._lock < 0:
            return
        if self.temporary and self._owner == os.getpid():  # not in a forked copy of the program
            shutil.rmtree(self.path, ignore_errors=True)
        if self._memory >= 0:
            os.close(self._memory)
        os.close(self._lock)
        self._lock = -1


def remove_stale(base: Path) -> list[Path]:
    """Delete this user's temporary data directories that no living process holds; returns them."""
    removed = []
    for path in base.glob(_prefix() + "*"):
        try:
            fd = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if _alone(fd):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
        finally:
            os.close(fd)
    return removed


def _alone(fd: int) -> bool:
    """Lock a file for us alone, if nobody else holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _prefix() -> str:
    return f"daf-{os.getuid()}-"


def _temporary_base() -> Path:
    """What DAF_DATA_DIR says; else the memory file system when it is there, writable and has room; else the usual
    place for temporary files."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).absolute()
    if os.access(_SHM, os.W_OK | os.X_OK):
        stat = os.statvfs(_SHM)
        if stat.f_bavail * stat.f_frsize >= _SHM_ROOM:
            return _SHM
    return Path(tempfile.gettempdir())


def python_path(path: Iterable[str] = ()) -> str:
    """PYTHONPATH for a child process that has to find this package, and whatever else `path` (a sys.path) leads to
    beyond what the child finds by itself."""
    import sysconfig

    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    own = tuple(os.path.abspath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    more = [os.path.abspath(entry) for entry in (*path, str(Path(__file__).parents[2]))]
    found = [
        entry for entry in more if not entry.startswith(own) and not entry.endswith(("site-packages", "dist-packages"))
    ]
    return os.pathsep.join(entry for entry in dict.fromkeys(given + found) if os.path.isdir(entry))
