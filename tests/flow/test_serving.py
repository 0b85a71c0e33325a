# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock clients pull over HTTP what was promoted, verified, at any moment; others get nothing."""

import http.client
import json
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.cli.house import House, init
from pipeline.cli.serving import lines_to_paste, pull_as_a_client, remote_settings, serving
from pipeline.ports import static_http
from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.process import CommandError, run, start
from pipeline.ports.static_http import Mount, Site
from pipeline.words.errors import BadInput, Failed, Trouble
from pipeline.words.refs import buildmaster_ref, compose_ref
from pipeline.words.verdict import Verdict
from tests.shipping import ARCH, OSNAME, Shop, manifest
from tests.work import ostci_argv

RUNTIME = f"{ARCH}-runtime"
REF = buildmaster_ref(OSNAME, RUNTIME)


@dataclass(frozen=True)
class Served:
    """A work directory that is being served."""

    shop: Shop
    house: House
    url: str

    def client(self, into: Path, *, key: bytes | None = None, verified: bool = True) -> Repo:
        """Make a repository with this server as its remote."""
        repo = Repo(into, log=self.shop.log).create(Mode.ARCHIVE)
        options = ["--set=gpg-verify-summary=true"]
        if key is not None:
            into.with_suffix(".gpg").write_bytes(key)
            options.append(f"--gpg-import={into.with_suffix('.gpg')}")
        if not verified:
            options = ["--no-gpg-verify", "--set=gpg-verify-summary=false"]
        repo.run("remote", "add", *options, OSNAME, f"{self.url}/repo")
        return repo


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Two promoted trees, served on a free port."""
    shop = Shop(tmp_path / "work", manifest())
    (tmp_path / "os.yaml").write_text("{}\n")
    init(shop.root, tmp_path / "os.yaml")
    shop.ship("20261124.0", "one")
    house = House(shop.root, log=shop.log)
    house.__dict__["manifest"] = shop.manifest  # what is in it is not the matter here
    with serving(house, "127.0.0.1:0") as url:
        yield Served(shop, house, url)


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask once, over a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", parts.path, headers=named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


# Clients


def test_a_stock_client_pulls_what_was_promoted_with_every_signature_verified(
    served: Served, tmp_path: Path
) -> None:
    promoted = {
        tree: served.shop.archive.need(buildmaster_ref(OSNAME, tree)) for tree in (RUNTIME,)
    }
    pull_as_a_client(served.house, served.url, promoted, tmp_path / "client")
    assert "a client that trusts another key is refused" in served.shop.sink.texts()


def test_a_client_that_gets_another_commit_than_was_promoted_says_so(
    served: Served, tmp_path: Path
) -> None:
    with pytest.raises(Failed, match="not the promoted 000"):
        pull_as_a_client(served.house, served.url, {RUNTIME: "0" * 64}, tmp_path / "client")


def test_a_client_follows_the_next_promotion(served: Served, tmp_path: Path) -> None:
    client = served.client(tmp_path / "client", key=served.shop.keyring.export())
    client.run("pull", OSNAME, REF)
    two = served.shop.ship("20261124.1", "two")
    client.run("pull", OSNAME, REF)
    assert client.run("rev-parse", f"{OSNAME}:{REF}").text == two[RUNTIME]


def test_a_client_with_the_wrong_key_is_refused(served: Served, tmp_path: Path) -> None:
    other = Keyring(tmp_path / "other", log=served.shop.log)
    other.ensure("somebody else")
    client = served.client(tmp_path / "client", key=other.export())
    with pytest.raises(CommandError, match=r"(?i)signature"):
        client.run("pull", OSNAME, REF)


def test_what_is_not_promoted_has_no_signature_and_is_refused(
    served: Served, tmp_path: Path
) -> None:
    shop = served.shop
    trees = shop.compose("20261124.1", "two")
    shop.judge("20261124.1", trees, {"smoke": Verdict.FAILED})
    shop.promote("20261124.1", trees)
    client = served.client(tmp_path / "client", key=shop.keyring.export())
    with pytest.raises(CommandError, match="GPG verification enabled, but no signatures found"):
        client.run("pull", OSNAME, compose_ref(OSNAME, RUNTIME))
    careless = served.client(tmp_path / "careless", verified=False)
    careless.run("pull", OSNAME, compose_ref(OSNAME, RUNTIME))


def test_a_summary_that_somebody_changed_is_refused(served: Served, tmp_path: Path) -> None:
    path = served.shop.archive.path / "summary"
    path.write_bytes(path.read_bytes().replace(b"buildmaster", b"buildMASTER"))
    client = served.client(tmp_path / "client", key=served.shop.keyring.export())
    with pytest.raises(CommandError, match=r"(?i)bad signature"):
        client.run("pull", OSNAME, REF)


@pytest.mark.slow
def test_no_read_fails_and_none_is_half_new_while_promotions_go_on(
    served: Served, tmp_path: Path
) -> None:
    both = [REF, buildmaster_ref(OSNAME, f"{ARCH}-devel")]
    stop = threading.Event()
    reads: list[str] = []
    failures: list[str] = []

    def read(number: int) -> None:
        client = served.client(tmp_path / f"reader{number}", key=served.shop.keyring.export())
        while not stop.is_set():
            try:
                client.run("pull", OSNAME, *both)
                said = {
                    client.info(client.run("rev-parse", f"{OSNAME}:{ref}").text).metadata["version"]
                    for ref in both
                }
            except CommandError as error:
                failures.append(str(error))
                continue
            if len(said) > 1:
                failures.append(f"half new: {said}")
            reads.append(max(said))

    readers = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 13):
        served.shop.ship(f"20261124.{number}", f"content {number}")
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert len(set(reads)) > 3, "the readers saw too little to tell"


# What is served, and how


def test_a_browser_gets_evidence_as_text_that_cannot_run(served: Served) -> None:
    run = served.house.workdir.new_run()
    evidence = run.path / "test" / RUNTIME / "smoke"
    evidence.mkdir(parents=True)
    for name in ("console.txt", "junit.xml", "report.html", "picture.png", "page.svg"):
        (evidence / name).write_text("<script>alert(1)</script>\n")
    base = f"{served.url}/runs/{evidence.relative_to(served.house.workdir.runs)}"
    kinds = {name: get(f"{base}/{name}") for name in [one.name for one in evidence.iterdir()]}
    assert {name: answer[1]["Content-Type"] for name, answer in kinds.items()} == {
        "console.txt": "text/plain; charset=utf-8",
        "junit.xml": "text/plain; charset=utf-8",
        "report.html": "application/octet-stream",
        "picture.png": "image/png",
        "page.svg": "application/octet-stream",
    }
    for status, headers, _ in kinds.values():
        assert status == 200
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_name_in_a_list_is_text_whatever_is_in_it(served: Served) -> None:
    run = served.house.workdir.new_run()
    (run.path / '"><script>alert(1)<').write_text("")
    _, _, body = get(f"{served.url}/runs/{run.path.relative_to(served.house.workdir.runs)}/")
    assert b"<script>" not in body
    assert b"&lt;script&gt;" in body


@pytest.mark.parametrize(
    "path",
    [
        "/keys/pubring.kbx",
        "/ledger.sqlite",
        "/runs/../ledger.sqlite",
        "/runs/%2e%2e/ledger.sqlite",
        "/runs/..%2fledger.sqlite",
        "/repo/.ostci.lock",
        "/repo/state",
        "/repo/tmp",
        "/repo/",
        "/runs/out/passwd",
        "/runs/fifo",
        "/nothing",
    ],
)
def test_what_is_not_to_be_seen_is_not_there(served: Served, path: str) -> None:
    runs = served.house.workdir.runs
    (runs / "out").symlink_to("/etc")
    os.mkfifo(runs / "fifo")
    assert get(f"{served.url}{path}")[0] == 404


def test_a_file_is_sent_in_parts_and_not_again(served: Served) -> None:
    (served.house.workdir.runs / "log.txt").write_text("0123456789")
    url = f"{served.url}/runs/log.txt"
    status, headers, body = get(url, Range="bytes=2-4")
    assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert get(url, Range="bytes=-3")[2] == b"789"
    assert get(url, Range="bytes=7-")[2] == b"789"
    assert get(url, Range="bytes=10-")[0] == 416
    assert get(url, If_None_Match=headers["ETag"])[0] == 304
    assert get(url, If_None_Match='"other"')[0] == 200


def test_the_key_and_the_settings_are_what_a_client_needs(served: Served) -> None:
    assert get(f"{served.url}/os.gpg")[2] == served.shop.keyring.export()
    settings = get(f"{served.url}/os.conf")[2].decode()
    assert settings == remote_settings(served.house, served.url)
    assert f"url={served.url}/repo\n" in settings
    assert "gpg-verify=true\ngpg-verify-summary=true\n" in settings


def test_verdicts_are_served_with_their_signatures(served: Served) -> None:
    commit = served.shop.buildmaster()[1]
    status, headers, body = get(f"{served.url}/verdicts/{commit}.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["state"] == "done"
    assert b"BEGIN PGP SIGNED" in get(f"{served.url}/verdicts/{commit}.json.asc")[2]
    assert {one["tree"] for one in json.loads(get(f"{served.url}/verdicts.json")[2])} == {
        RUNTIME,
        f"{ARCH}-devel",
    }


def test_the_lines_to_paste_work_when_pasted(served: Served, tmp_path: Path) -> None:
    client = Repo(tmp_path / "client", log=served.shop.log).create(Mode.ARCHIVE)
    (tmp_path / "os.gpg").write_bytes(get(f"{served.url}/os.gpg")[2])
    lines = lines_to_paste(served.house, served.url)
    pasted = [
        shlex.split(line) for line in lines if line.startswith(("ostree remote", "ostree pull"))
    ]
    assert len(pasted) == 3
    for words in pasted:
        where = [
            f"--gpg-import={tmp_path}/os.gpg" if "--gpg-import" in word else word
            for word in words[1:]
        ]
        at = 2 if words[1] == "remote" else 1
        argv = ["ostree", *where[:at], f"--repo={client.path}", *where[at:]]
        run(argv, log=served.shop.log)
    assert client.run("rev-parse", f"os:{REF}").text == served.shop.buildmaster()[1]


def test_an_address_that_is_taken_or_none_says_what_to_do(tmp_path: Path, log: Log) -> None:
    site = Site(mounts={"files": Mount(root=tmp_path)})
    with static_http.serving("127.0.0.1:0", site, log=log) as url:
        taken = url.removeprefix("http://")
        with pytest.raises(Trouble, match=f"cannot listen on {taken}: Address already in use"):  # noqa: SIM117
            with static_http.serving(taken, site, log=log):
                raise AssertionError("two on one address")
    with pytest.raises(BadInput, match="not an address to listen on: 'here'"):
        static_http.parse_address("here")


def test_a_client_that_stays_connected_does_not_keep_the_server_from_ending(
    tmp_path: Path, log: Log
) -> None:
    (tmp_path / "file").write_text("x")
    with static_http.serving(
        "127.0.0.1:0", Site(mounts={"files": Mount(root=tmp_path)}), log=log
    ) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        connection.request("GET", "/files/file")
        assert connection.getresponse().read() == b"x"
    connection.close()


def test_summary_and_signature_of_one_connection_belong_together(served: Served) -> None:
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", "/repo/summary.sig")
    connection.getresponse().read()
    before = (served.shop.archive.path / "summary").read_bytes()
    served.shop.ship("20261124.1", "two")
    connection.request("GET", "/repo/summary")
    assert connection.getresponse().read() == before
    connection.request("GET", "/repo/summary")
    assert connection.getresponse().read() == (served.shop.archive.path / "summary").read_bytes()
    connection.close()


MANIFEST = """\
osname: os
base: {debian: {suite: bookworm, packages: {runtime: [systemd], devel: [gcc]}}}
components: []
targets: {runtime: {packages: [runtime]}, devel: {packages: [runtime, devel]}}
"""


def test_the_command_serves_until_it_is_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest())
    (tmp_path / "os.yaml").write_text(MANIFEST)
    init(shop.root, tmp_path / "os.yaml")
    commits = shop.ship("20261124.0", "one")
    argv = ostci_argv(shop.root, "serve", "--address", "127.0.0.1:0")
    with start(argv, log=shop.log) as child:
        assert child.stdout is not None and child.stderr is not None
        first = child.stdout.readline().decode()
        assert first.startswith(f"serving {shop.root} at http://127.0.0.1:"), child.stderr.read()
        url = first.split()[3]
        assert get(f"{url}/repo/refs/heads/{REF}")[2].decode().strip() == commits[RUNTIME]
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(60) == 130
        assert child.stderr.read().decode().endswith("stopped; nothing is left running\n")
