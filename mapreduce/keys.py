"""Keys: who may connect, and for what.

A key directory holds one pair of small text files for each party: NAME.key, which is public, and NAME.secret (mode
0600). Every host gets all the .key files and the one secret that is its own; whose .key file is not there is a
stranger. What a key may do stands in the copy of its .key file that the *server* reads, never in what a peer brings:

| role | scopes | what they allow |
|---|---|---|
| coordinator | | to be believed to be the coordinator; there is one in a directory |
| worker | work | to join as a worker, and to fetch blobs of other workers |
| client | submit | to submit jobs, and to watch, explain and cancel those of the same key |
| | read | to see all jobs and workers, and to fetch the blobs of results |
| | admin | all that clients do, on everybody's jobs |

A directory or file that other users can change, or a secret that they can read, is refused: it would let them in.
`Directory` looks again when files come, go or change, so a key is taken back by deleting its file."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from .errors import BadInput, BadParameters, Insecure

log = logging.getLogger("daf.keys")

VARIABLE = "DAF_KEYS"
SCOPES: dict[str, tuple[str, ...]] = {"coordinator": (), "worker": ("work",), "client": ("submit", "read", "admin")}
"""Role: the scopes that a key of it may have."""
DEFAULTS: dict[str, tuple[str, ...]] = {"coordinator": (), "worker": ("work",), "client": ("submit", "read")}
MAX_FILE = 4096
LOOK = 1.0
"""Seconds after which a directory is looked at again, when somebody asks."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HEADS = {
    ".key": "# DAF key, public: copy it to every host whose DAF shall know this party.\n",
    ".secret": "# DAF key, SECRET: only the host that is this party may have it. Mode 0600.\n",
}


@dataclass(frozen=True)
class Key:
    """A party as others know it. `public` is its CURVE key in Z85 (40 characters)."""

    name: str
    role: str
    scopes: frozenset[str]
    public: str

    def may(self, scope: str) -> bool:
        return scope in self.scopes


@dataclass(frozen=True)
class Curve:
    """What one socket needs: its own pair and, when it connects, the server's public key (Z85; empty: it listens)."""

    public: str
    secret: str = field(repr=False)
    server: str = ""


@dataclass(frozen=True)
class Keys:
    """One party's own pair and the directory of those that it knows."""

    own: Key
    secret: str
    path: Path
    directory: Directory

    def listen(self) -> Curve:
        return Curve(self.own.public, self.secret)

    def connect(self, server: str = "") -> Curve:
        """To the owner of the public key `server`; to the coordinator when none is given."""
        return Curve(self.own.public, self.secret, server or self.directory.coordinator().public)

    def __repr__(self) -> str:  # secrets have no place in logs and tracebacks
        return f"<keys of {self.own.role} {self.own.name} in {self.directory.path}>"


class Directory:
    """The public keys in a folder. A file that cannot be used lets nobody in: it is logged and left out.

    Raises:
        Insecure: others can change the folder.
        BadInput: there is no such folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._keys: dict[str, Key] = {}
        self._seen: object = None
        self._look_at = 0.0
        _check_owner(path, "the key directory")
        self._look(time.monotonic())

    def find(self, public: str) -> Key | None:
        """Whose key this is, or None for a stranger's."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        return self._keys.get(public)

    def keys(self) -> list[Key]:
        """All, by name."""
        return sorted(self._keys.values(), key=lambda key: key.name)

    def coordinator(self) -> Key:
        """Raises Insecure unless there is exactly one."""
        found = [key for key in self.keys() if key.role == "coordinator"]
        if len(found) != 1:
            names = ", ".join(key.name for key in found) or "none"
            raise Insecure(
                f"{self.path} must have the public key of one coordinator, and has {names}: copy the .key file that "
                f"`daf keys new {self.path} --role coordinator` wrote on the coordinator's host"
            )
        return found[0]

    def _look(self, now: float) -> None:
        self._look_at = now + LOOK
        try:
            with os.scandir(self.path) as entries:
                found = sorted(
                    (entry.name, entry.stat().st_mtime_ns, entry.stat().st_ctime_ns)
                    for entry in entries
                    if entry.name.endswith(".key")
                )
        except OSError as error:
            log.error("the key directory %s cannot be read, so nobody is known: %s", self.path, error.strerror)
            self._keys, self._seen = {}, None
            return
        if found == self._seen:
            return
        keys: dict[str, Key] = {}
        for name, *_ in found:
            try:
                key = read_key(self.path / name)
                if key.public in keys:
                    raise BadInput(f"{name} has the same key as {keys[key.public].name}.key; it is left out")
                keys[key.public] = key
            except (BadInput, Insecure) as error:
                log.error("%s", error)
        self._keys, self._seen = keys, found


def load(path: str | Path, role: str) -> Keys:
    """The keys of the party of that role: of the one secret in the directory `path` that is of it, or of the secret
    file `path`.

    Raises:
        Insecure: others can read or change what they must not; no secret of the role, or several; no coordinator's
            key; or this libzmq has no CURVE.
        BadInput: there is nothing at `path`, or a file is not a key.
    """
    path = Path(path).absolute()
    require_curve()
    folder = path.parent if path.suffix == ".secret" else path
    directory = Directory(folder)
    candidates = [path] if path.suffix == ".secret" else sorted(folder.glob("*.secret"))
    mine = [(key, secret, file) for file in candidates for key, secret in [_read_secret(file)] if key.role == role]
    if len(mine) != 1:
        names = ", ".join(str(file) for _, _, file in mine) or "none"
        what = f"name one of them: {names}" if mine else f"make one with: daf keys new {folder} --role {role}"
        raise Insecure(f"{path} has {len(mine)} secret keys of the role {role}; {what}")
    own, secret, file = mine[0]
    if role != "coordinator":
        directory.coordinator()
    return Keys(own, secret, file, directory)


def chosen(keys: Keys | str | Path | None, role: str) -> Keys | None:
    """The keys that an argument means: given ones, those at a path; None: what the variable DAF_KEYS says; "": none.

    Raises: see `load`.
    """
    if isinstance(keys, Keys):
        return keys
    path = os.environ.get(VARIABLE, "") if keys is None else keys
    return load(path, role) if path else None


def make(folder: Path, role: str, name: str = "", scopes: tuple[str, ...] = ()) -> Key:
    """Write a new pair into `folder`, which is made with mode 0700; nothing that exists is overwritten.

    Args:
        name: by default the role.
        scopes: by default those of `DEFAULTS`.

    Raises:
        BadParameters: an unknown role, a scope that the role cannot have, or a name that is none or taken.
        Insecure: others can change the folder, or this libzmq has no CURVE.
        OSError: the folder cannot be written.
    """
    import zmq

    require_curve()
    name, scopes = name or role, scopes or DEFAULTS.get(role, ())
    _check_fields(role, name, scopes)
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
    _check_owner(folder, "the key directory")
    here = Directory(folder).keys()
    if role == "coordinator" and any(key.role == role for key in here):
        raise BadParameters(
            f"{folder} has a coordinator's key already; another coordinator gets a directory of its own"
        )
    public, secret = (part.decode() for part in zmq.curve_keypair())
    text = f"role: {role}\nname: {name}\nscopes: {' '.join(scopes)}\npublic: {public}\n"
    files = {folder / f"{name}.secret": (0o600, f"{text}secret: {secret}\n"), folder / f"{name}.key": (0o644, text)}
    for path in files:
        if os.path.lexists(path):
            raise BadParameters(
                f"{path} exists; give another --name, or delete both files of {name} to replace its key"
            )
    for path, (mode, lines) in files.items():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            os.fchmod(fd, mode)
            file.write(_HEADS[path.suffix] + lines)
            file.flush()
            os.fsync(fd)
    return Key(name, role, frozenset(scopes), public)


def read_key(path: Path) -> Key:
    """The public key in a .key file. Raises BadInput, or Insecure when others can change it."""
    return _parse(path, _read(path, 0o022, "change it: chmod go-w"))[0]


def require_curve() -> None:
    """Raises Insecure when libzmq was built without CURVE."""
    import zmq

    if not zmq.has("curve"):
        raise Insecure(
            f"this libzmq ({zmq.zmq_version()}) was built without CURVE, so keys would protect nothing: install a "
            "pyzmq wheel (pip install --force-reinstall pyzmq), which has libsodium"
        )


def _read_secret(path: Path) -> tuple[Key, str]:
    return _parse(path, _read(path, 0o077, "read it: chmod 600"))


def _read(path: Path, forbidden: int, remedy: str) -> str:
    """A small file of which others have none of the permissions `forbidden`."""
    try:
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise BadInput(f"{path} is not a file")
            if about.st_mode & forbidden or about.st_uid not in (os.geteuid(), 0):
                raise Insecure(f"{path} is not safe: other users can {remedy} {path}, and let this user or root own it")
            return file.read(MAX_FILE + 1).decode("ascii")
    except OSError as error:
        raise BadInput(f"the key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a key: it is not text") from error


def _parse(path: Path, text: str) -> tuple[Key, str]:
    import struct

    from zmq.utils import z85

    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = {"role", "name", "scopes", "public"} | ({"secret"} if path.suffix == ".secret" else set())
    if len(text) > MAX_FILE or set(fields) != wanted or len(lines) != len(wanted):
        raise BadInput(f"{path} is not a key: it must have the lines {', '.join(sorted(wanted))}, once each")
    scopes = tuple(fields["scopes"].split())
    try:
        _check_fields(fields["role"], fields["name"], scopes)
    except BadParameters as error:
        raise BadInput(f"{path} is not a key: {error}") from error
    if fields["name"] != path.stem:
        raise BadInput(f"{path} says that it is {fields['name']}: a key's file has its name")
    for kind in ("public", "secret"):
        try:
            if len(z85.decode(fields.get(kind, "0" * 40).encode())) != 32:
                raise ValueError
        except (ValueError, ArithmeticError, LookupError, struct.error):
            raise BadInput(f"{path} is not a key: {kind} is not 40 characters of Z85") from None
    key = Key(fields["name"], fields["role"], frozenset(scopes), fields["public"])
    return key, fields.get("secret", "")


def _check_fields(role: str, name: str, scopes: tuple[str, ...]) -> None:
    if role not in SCOPES:
        raise BadParameters(f"there is no role {role!r}: it is {', '.join(SCOPES)}")
    if not _NAME.fullmatch(name):
        raise BadParameters(f"{name!r} is no name of a key: write 1 to 64 letters, digits, dots, - or _")
    wrong = [scope for scope in scopes if scope not in SCOPES[role]]
    if wrong:
        may = ", ".join(SCOPES[role]) or "none"
        raise BadParameters(
            f"a {role}'s key cannot have the scope {wrong[0]!r}: roles are kept apart, it may have {may}"
        )


def _check_owner(folder: Path, what: str) -> None:
    try:
        about = folder.stat()
    except OSError as error:
        raise BadInput(f"{what} {folder} cannot be read: {error.strerror}; daf keys new {folder} makes one") from error
    if not stat.S_ISDIR(about.st_mode):
        raise BadInput(f"{what} {folder} is not a directory")
    if about.st_mode & 0o022 or about.st_uid not in (os.geteuid(), 0):
        raise Insecure(
            f"{what} {folder} is not safe: other users can put keys into it. chmod 700 {folder}, and let this user or "
            "root own it"
        )
