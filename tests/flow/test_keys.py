# SPDX-License-Identifier: LGPL-2.1-or-later
"""The change from one signing key to the next, seen by stock clients in the field."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.cli.house import House, init
from pipeline.cli.serving import serving
from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger_place import with_ledger
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.process import CommandError
from pipeline.words.refs import buildmaster_ref
from tests.shipping import ARCH, OSNAME, Shop, manifest
from tests.work import ostci_argv

pytestmark = pytest.mark.slow
RUNTIME = f"{ARCH}-runtime"
REF = buildmaster_ref(OSNAME, RUNTIME)
MANIFEST = {
    "osname": OSNAME,
    "base": {"name": "b", "tar": {"runtime": {"file": "./rootfs.tar"}}, "initramfs": "none"},
    "components": [],
    "targets": {"runtime": {}, "devel": {}},
}


def small_shop(root: Path, *, ledger: str = "") -> Shop:
    """Make a work directory with two promoted trees, and a manifest that reads."""
    shop = Shop(root / "work", manifest())
    (root / "rootfs.tar").touch()
    (root / "os.yaml").write_text(json.dumps(MANIFEST))
    init(shop.root, root / "os.yaml")
    if ledger:
        settings = shop.root / "ostci.toml"
        settings.write_text(with_ledger(settings.read_text(), ledger))
    shop.ship("20261124.0", "one")
    return shop


@dataclass
class Field:
    """A shop that is served, and clients of it."""

    shop: Shop
    url: str
    root: Path

    def client(self, name: str, key: bytes) -> Repo:
        """Make a client that trusts a key."""
        (self.root / f"{name}.gpg").write_bytes(key)
        repo = Repo(self.root / name, log=self.shop.log).create(Mode.ARCHIVE)
        options = [f"--gpg-import={self.root}/{name}.gpg", "--set=gpg-verify-summary=true"]
        repo.run("remote", "add", *options, OSNAME, f"{self.url}/repo")
        return repo

    def key(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Give ``ostci key``."""
        argv = ostci_argv(self.shop.root, "key", *words)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def keys(self) -> list[bytes]:
        """Export each key that signs by itself."""
        keyring = Keyring(self.shop.workdir.keys, log=self.shop.log)
        found = []
        for one in keyring.fingerprints:
            alone = Keyring(self.shop.workdir.keys, log=self.shop.log)
            alone.__dict__["fingerprints"] = (one,)
            found.append(alone.export())
        return found

    def ship(self, run: str, content: str) -> str:
        """Promote something new, as a process of its own would, with the keys of now."""
        self.shop.keyring.__dict__.pop("fingerprints", None)
        return self.shop.ship(run, content)[RUNTIME]


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    shop = small_shop(tmp_path)
    with serving(House(shop.root, log=shop.log), "127.0.0.1:0") as url:
        yield Field(shop, url, tmp_path)


def pulls(client: Repo, commit: str) -> bool:
    """Tell whether a client gets a commit; it is refused for its signature, or not at all."""
    try:
        client.run("pull", OSNAME, REF)
    except CommandError as error:
        assert "signature" in str(error).lower(), error
        return False
    assert client.run("rev-parse", f"{OSNAME}:{REF}").text == commit
    return True


def test_old_and_new_clients_verify_while_the_key_changes(field: Field) -> None:
    one = field.shop.archive.need(REF)
    (first,) = field.keys()
    old = field.client("old", first)
    assert pulls(old, one)
    assert field.key("rotate").returncode == 0
    _, second = field.keys()
    new = field.client("new", second)
    # What was promoted before the change is signed by the new key, too.
    assert pulls(new, one)
    assert pulls(field.client("late", first), one)
    two = field.ship("20261124.1", "two")
    assert pulls(old, two)
    assert pulls(new, two)

    done = field.key("retire")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("signs no more") == 1
    assert field.keys() == [second]
    assert pulls(field.client("newest", second), two)
    three = field.ship("20261124.2", "three")
    assert pulls(new, three)
    assert not pulls(old, three)
    assert not pulls(field.client("too-late", first), three)


@pytest.mark.full
def test_verdicts_are_believed_with_the_key_that_is_served(field: Field, tmp_path: Path) -> None:
    for words in ("rotate", "retire"):
        assert field.key(words).returncode == 0
        home = tmp_path / f"reader-{words}"
        home.mkdir(mode=0o700)
        key = field.shop.workdir.published / f"{OSNAME}.gpg"
        gpg = ["gpg", f"--homedir={home}", "--batch", "--quiet", "--trust-model=always"]
        subprocess.run([*gpg, "--no-autostart", "--import", key], check=True, timeout=60)
        for signed in field.shop.workdir.published.rglob("*.asc"):
            subprocess.run([*gpg, "--verify", signed], check=True, timeout=60, capture_output=True)


def test_the_only_key_is_not_retired(field: Field) -> None:
    done = field.key("retire")
    assert done.returncode == 2
    assert "key rotate" in done.stderr
    assert len(field.key().stdout.splitlines()) == 1


@pytest.mark.full
def test_a_change_that_was_killed_is_gone_on_with(field: Field) -> None:
    # As if it was killed when the key was made and nothing was signed yet.
    Keyring(field.shop.workdir.keys, log=field.shop.log).add("os (ostci, later)")
    one = field.shop.archive.need(REF)
    first, second = field.keys()
    assert not pulls(field.client("early", second), one)
    assert field.key("rotate").returncode == 0
    assert field.keys() == [first, second]
    assert pulls(field.client("new", second), one)
