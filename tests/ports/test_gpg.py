# SPDX-License-Identifier: LGPL-2.1-or-later
"""A signing key works unattended and leaves no daemon behind."""

import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble


def agents(text: str) -> list[int]:
    """List the agents that run for a home whose path contains the text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"gpg-agent" in words and text.encode() in words:
            found.append(int(path.parent.name))
    return found


def test_a_key_is_made_once_and_found_again(tmp_path: Path, log: Log) -> None:
    first = Keyring(tmp_path / "keys", log=log).ensure("os (ostci)")
    again = Keyring(tmp_path / "keys", log=log)
    assert again.ensure("another name") == first == again.fingerprint
    assert len(first) == 40


def test_a_home_without_a_key_says_so(tmp_path: Path, log: Log) -> None:
    with pytest.raises(Trouble, match=r"no signing key in .*keys"):
        _ = Keyring(tmp_path / "keys", log=log).fingerprint


def test_only_the_owner_may_look_into_the_home(tmp_path: Path, log: Log) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    Keyring(tmp_path / "keys", log=log).ensure("os")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_what_is_signed_verifies_with_the_exported_key_alone(tmp_path: Path, log: Log) -> None:
    keyring = Keyring(tmp_path / "keys", log=log)
    keyring.ensure("os")
    (tmp_path / "text.asc").write_text(keyring.sign_text("a promise\n"))
    (tmp_path / "data").write_bytes(b"\0\1")
    (tmp_path / "data.sig").write_bytes(keyring.sign_detached(b"\0\1"))
    (tmp_path / "key.gpg").write_bytes(keyring.export())
    argv = ["gpgv", f"--keyring={tmp_path / 'key.gpg'}"]
    process.run([*argv, tmp_path / "text.asc"], log=log)
    process.run([*argv, tmp_path / "data.sig", tmp_path / "data"], log=log)
    (tmp_path / "data").write_bytes(b"\0\2")
    with pytest.raises(process.CommandError, match="BAD signature"):
        process.run([*argv, tmp_path / "data.sig", tmp_path / "data"], log=log)


def test_the_exported_key_has_no_secret_half(tmp_path: Path, log: Log) -> None:
    keyring = Keyring(tmp_path / "keys", log=log)
    keyring.ensure("os")
    packets = process.run(["gpg", "--list-packets"], log=log, input=keyring.export()).text
    assert ":public key packet:" in packets
    assert "secret" not in packets


@pytest.mark.parametrize("depth", [0, 6])
def test_the_agent_lives_as_long_as_the_home_is_unlocked(
    tmp_path: Path, log: Log, depth: int
) -> None:
    home = tmp_path.joinpath(*["a-directory-with-a-long-name"] * depth) / "keys"
    keyring = Keyring(home, log=log)
    keyring.ensure("os")
    with keyring.unlocked() as short:
        assert len(bytes(short)) < 90
        assert not short.is_symlink()  # ostree gpg-sign would refuse it
        assert len(agents(str(short))) == 1
        with keyring.unlocked() as nested:
            assert nested == short
        keyring.sign_text("again, with the same one")
        assert len(agents(str(short))) == 1
    assert agents(str(short)) == []
    assert not list(home.glob("S.gpg-agent*"))


def test_an_error_ends_the_agent_as_well(tmp_path: Path, log: Log) -> None:
    keyring = Keyring(tmp_path / "keys", log=log)
    keyring.ensure("os")
    with pytest.raises(ZeroDivisionError), keyring.unlocked():
        _ = 1 / 0
    assert agents(str(tmp_path)) == []
    assert keyring.sign_text("still works")


def test_two_that_need_a_key_at_once_get_the_same(tmp_path: Path, log: Log) -> None:
    found: list[str] = []

    def ensure() -> None:
        found.append(Keyring(tmp_path / "keys", log=log).ensure("os"))

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_kill_takes_the_agent_along(tmp_path: Path, log: Log) -> None:
    script = (
        "import sys, time; from pathlib import Path; from pipeline.ports.gpg import Keyring;"
        "from pipeline.ports.log import Log; ring = Keyring(Path(sys.argv[1]), log=Log());"
        "ring.ensure('os'); opened = ring.unlocked(); opened.__enter__();"
        "print('open', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "keys")]
    with process.start(argv, log=log, stderr=None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        (agent,) = agents(str(tmp_path))
        child.kill()
    until = time.monotonic() + 60
    while agent in agents(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.01)
    assert agents(str(tmp_path)) == []
    # The socket that was left behind is no hindrance to the next.
    assert Keyring(tmp_path / "keys", log=log).sign_text("after a kill")
