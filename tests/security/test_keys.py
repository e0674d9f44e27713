"""Key files: who can read them, what is in them, what is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mapreduce.errors import BadInput, BadParameters, Insecure
from mapreduce.keys import Directory, load, make, read_key
from tests.security.ring import keys_of, ring


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    key = make(folder, "worker", "w1")
    assert mode(folder) == 0o700
    assert mode(folder / "w1.secret") == 0o600 and mode(folder / "w1.key") == 0o644
    secret = next(line for line in (folder / "w1.secret").read_text().splitlines() if line.startswith("secret:"))
    assert secret.partition(": ")[2] not in (folder / "w1.key").read_text()
    assert read_key(folder / "w1.key") == key and key.scopes == {"work"}


@pytest.mark.parametrize("there", ["w1.key", "w1.secret"])
def test_what_exists_is_not_overwritten(tmp_path: Path, there: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / there).write_text("mine")
    with pytest.raises(BadParameters, match=f"{there} exists"):
        make(tmp_path, "worker", "w1")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    (folder / "w1.secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadParameters, match="exists"):
        make(folder, "worker", "w1")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("role", "name", "scopes", "words"),
    [
        ("worker", "w", ("submit",), "roles are kept apart"),
        ("client", "c", ("work",), "roles are kept apart"),
        ("coordinator", "c", ("admin",), "roles are kept apart"),
        ("king", "k", (), "no role 'king'"),
        ("worker", "../w", (), "no name of a key"),
        ("worker", ".w", (), "no name of a key"),
    ],
)
def test_what_cannot_be_a_key(tmp_path: Path, role: str, name: str, scopes: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        make(tmp_path / "keys", role, name, scopes)
    assert not (tmp_path / "keys").exists()


def test_one_coordinator_in_a_directory(tmp_path: Path) -> None:
    make(tmp_path / "keys", "coordinator")
    with pytest.raises(BadParameters, match="has a coordinator's key already"):
        make(tmp_path / "keys", "coordinator", "other")


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    folder = ring(tmp_path / "keys")
    folder.chmod(0o770)
    with pytest.raises(Insecure, match=f"chmod 700 {folder}"):
        load(folder / "user.secret", "client")
    with pytest.raises(Insecure, match="chmod 700"):
        make(folder, "worker", "another")


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    folder = ring(tmp_path / "keys")
    (folder / "user.secret").chmod(0o640)
    with pytest.raises(Insecure, match=r"chmod 600 .*user.secret"):
        keys_of(folder, "user")


def test_a_key_file_that_others_can_change_lets_nobody_in(tmp_path: Path) -> None:
    folder = ring(tmp_path / "keys")
    public = read_key(folder / "user.key").public
    assert Directory(folder).find(public) is not None
    (folder / "user.key").chmod(0o664)
    assert Directory(folder).find(public) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("role: client", "role: worker"),  # with a client's scopes
        lambda text: text.replace("scopes: read", "scopes: read root"),
        lambda text: text.replace("name: reader", "name: boss"),
        lambda text: text + "scopes: admin\n",
        lambda text: text[:-5],
        lambda text: text.replace("public: ", "public: é"),
        lambda text: text + "#" * 5000,
        lambda text: "",
    ],
)
def test_a_broken_key_file_lets_nobody_in(tmp_path: Path, change, caplog: pytest.LogCaptureFixture) -> None:
    folder = ring(tmp_path / "keys")
    path = folder / "reader.key"
    public = read_key(path).public
    path.write_text(change(path.read_text()))
    directory = Directory(folder)
    assert directory.find(public) is None and len(directory.keys()) == 6
    assert str(path) in caplog.text
    with pytest.raises(BadInput, match=r"reader.key"):
        read_key(path)


def test_the_right_secret_has_to_be_named(tmp_path: Path) -> None:
    folder = ring(tmp_path / "keys")
    assert load(folder, "coordinator").own.name == "coordinator"
    with pytest.raises(Insecure, match="4 secret keys of the role client"):
        load(folder, "client")
    with pytest.raises(Insecure, match="0 secret keys of the role worker"):
        load(folder / "user.secret", "worker")
    with pytest.raises(BadInput, match="nowhere"):
        load(tmp_path / "nowhere", "client")


def test_who_does_not_know_the_coordinator_does_not_start(tmp_path: Path) -> None:
    make(tmp_path / "keys", "worker")
    with pytest.raises(Insecure, match="public key of one coordinator, and has none"):
        load(tmp_path / "keys", "worker")


def test_secrets_are_not_shown(folder: Path) -> None:
    keys = keys_of(folder, "user")
    for thing in (keys, keys.connect(), keys.listen(), [keys]):
        assert keys.secret not in repr(thing)


def test_a_directory_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapreduce.keys.LOOK", 0.0)
    folder = ring(tmp_path / "keys")
    directory = Directory(folder)
    late = make(folder, "client", "late")
    assert directory.find(late.public) == late
    (folder / "late.key").unlink()
    assert directory.find(late.public) is None
    folder.rename(tmp_path / "gone")
    assert directory.keys() and directory.find(late.public) is None and not directory.keys()
