"""Keys: made once, for their owner only, whole or not at all."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from darc.network.key_file import KEY_BYTES, KeyFileError, read_key
from darc.network.master_queues import server_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "a.key"


def test_a_key_is_made_once_for_its_owner_only(path) -> None:
    key = read_key(path, "tests", make=True)
    assert len(bytes.fromhex(key.decode())) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert read_key(path, "tests", make=True) == read_key(path, "tests") == key
    assert list(path.parent.iterdir()) == [path]


def test_every_key_is_another_one(tmp_path) -> None:
    assert len({read_key(tmp_path / f"{number}", "tests", make=True) for number in range(5)}) == 5


def test_processes_that_make_the_same_key_at_once_agree(path, monkeypatch) -> None:
    path.parent.mkdir()
    # both see that there is none
    together = threading.Barrier(2)
    real_exists = Path.exists

    def exists(self: Path) -> bool:
        found = real_exists(self)
        together.wait(10)
        return found

    monkeypatch.setattr(Path, "exists", exists)
    keys: list[bytes] = []
    makers = [
        threading.Thread(target=lambda: keys.append(read_key(path, "tests", make=True))) for _ in range(2)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(keys) == 2 and len(set(keys)) == 1


def test_a_key_that_could_not_be_written_whole_is_not_there(path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(KeyFileError, match="No space left"):
        read_key(path, "tests", make=True)
    assert list(path.parent.iterdir()) == []


def test_a_key_that_is_missing_is_not_made_unless_asked_for(path) -> None:
    with pytest.raises(
        KeyFileError, match=r"no key for tests: .*a\.key: .*copy the file from the master node"
    ):
        read_key(path, "tests")
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_key_that_others_can_use_is_refused_with_its_mode(path, mode) -> None:
    read_key(path, "tests", make=True)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"a\.key .*mode {mode:04o}.*chmod 600"):
        read_key(path, "tests")


def test_an_empty_key_is_refused(path) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    with pytest.raises(KeyFileError, match="is empty"):
        read_key(path, "tests")


def settings(auth: str | SecretStr | None, file: Path | None) -> SimpleNamespace:
    return SimpleNamespace(server_address="", server_port=1, server_auth=auth, server_auth_file=file)


def test_the_key_of_a_trigger_queue_is_that_of_the_configuration_or_of_the_file(path) -> None:
    assert server_key(settings(SecretStr("given"), path), "lofar_trigger") == b"given"
    made = server_key(settings(None, path), "lofar_trigger", make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert server_key(settings(None, path), "lofar_trigger") == made
