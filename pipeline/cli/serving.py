# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci serve``: what was promoted, with its proof, over HTTP; and the look of a client at it.

Served are the archive repository, the public key and a remote's settings, the signed verdicts, and
the runs with their evidence. A stock ``ostree`` needs nothing else.
"""

import argparse
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.cleaning import do_clean
from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.ports import static_http
from pipeline.ports.files import remove_tree, write_bytes
from pipeline.ports.gpg import Keyring
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.process import CommandError
from pipeline.ports.static_http import Mount, Site
from pipeline.words.errors import EXIT_PASSED, Failed, Trouble
from pipeline.words.published import FOLDER, LIST
from pipeline.words.refs import buildmaster_ref

__all__ = ["do_clean", "do_serve", "pull_as_a_client", "serve_until_stopped", "serving"]

_SERVED = frozenset({"config", "objects", "refs", "deltas", "delta-indexes"})
_PUBLISHED = (
    *("verdicts", "verdicts.json", "verdicts.json.asc"),
    *(FOLDER, LIST, f"{LIST}.asc"),
)
_FETCH_S = 30.0


def do_serve(options: argparse.Namespace) -> int:
    """Serve the repository and the evidence until somebody stops it."""
    house = open_house(options)
    serve_until_stopped(house, options.address)
    return EXIT_PASSED


def serve_until_stopped(house: House, address: str | None = None) -> None:
    """Serve, print what to paste on a client, and go on until Ctrl-C."""
    chosen = address or house.settings.address
    with serving(house, chosen) as url:
        print("\n".join(lines_to_paste(house, url)), flush=True)
        if not static_http.is_loopback(static_http.parse_address(chosen)[0]):
            house.log.warning("others can reach this server; it has no TLS and asks nobody who")
        threading.Event().wait()


@contextmanager
def serving(house: House, address: str) -> Iterator[str]:
    """Serve for the length of the ``with``; tells the URL. Port 0 takes any that is free."""
    osname = house.manifest.osname
    house.keyring.ensure(f"{osname} (ostci)")
    workdir = house.workdir
    mounts = {
        "repo": Mount(root=house.archive.path, only=_SERVED, listed=False, repository=True),
        "runs": Mount(root=workdir.runs),
    }
    # The key is a file: it changes while this serves.
    for name in (*_PUBLISHED, publish_key(house)):
        mounts[name] = Mount(root=workdir.published / name)
    pages: dict[str, bytes] = {}
    # The settings name the address that we listen on, which is known only then.
    site = Site(mounts=mounts, pages=pages, title=osname)
    with static_http.serving(address, site, log=house.log) as url:
        pages[f"{osname}.conf"] = remote_settings(house, url).encode()
        yield url


def publish_key(house: House) -> str:
    """Put the keys that sign where they are served; tells the file's name."""
    name = f"{house.manifest.osname}.gpg"
    write_bytes(house.workdir.published / name, house.keyring.export())
    return name


def remote_settings(house: House, url: str) -> str:
    """Write what a client keeps in ``/etc/ostree/remotes.d``."""
    name = house.manifest.osname
    lines = [
        f'[remote "{name}"]',
        f"url={house.manifest.repo or f'{url}/repo'}",
        "gpg-verify=true",
        "gpg-verify-summary=true",
        f"gpgkeypath=/etc/ostree/{name}.gpg",
    ]
    return "\n".join([*lines, ""])


def lines_to_paste(house: House, url: str) -> list[str]:
    """Write what to type on a client, and what there is to see."""
    name = house.manifest.osname
    promoted = [ref for ref in house.archive.refs(name) if "/buildmaster/" in ref]
    lines = [f"serving {house.workdir.root} at {url} (Ctrl-C ends it)"]
    if not promoted:
        return [*lines, "nothing is promoted yet: ostci run", f"runs and evidence  {url}/runs/"]
    return [
        *lines,
        "",
        "# on a machine that runs this OS, or in any repository with --repo=DIR:",
        f"curl -fO {url}/{name}.gpg",
        f"ostree remote add --gpg-import={name}.gpg --set=gpg-verify-summary=true"
        f" {name} {url}/repo",
        *(f"ostree pull {name}:{ref}" for ref in promoted),
        f"ostree admin switch {name}:{promoted[0]}   # and later: ostree admin upgrade",
        "",
        f"runs and evidence  {url}/runs/",
        f"signed verdicts    {url}/verdicts/   (gpg --verify COMMIT.json.asc)",
        *_artifacts_line(house, url),
    ]


def _artifacts_line(house: House, url: str) -> list[str]:
    if not (house.workdir.published / LIST).is_file():
        return []
    keys = " ".join(house.keyring.fingerprints)
    return [f"tries elsewhere    ostci -C DIR try --from {url} COMPONENT=DIR   (key {keys})"]


# The look of a client


def pull_as_a_client(house: House, url: str, promoted: Mapping[str, str], into: Path) -> None:
    """Pull as a stranger would, from nothing but the URL; raises Failed where it is not right.

    Signatures of the summary and of each commit are verified, the commits are those that were
    promoted, and a client that trusts another key gets nothing.
    """
    name = house.manifest.osname
    remove_tree(into)
    into.mkdir(parents=True)
    with urllib.request.urlopen(f"{url}/{name}.gpg", timeout=_FETCH_S) as answer:
        write_bytes(into / f"{name}.gpg", answer.read())
    client = Repo(into / "repo", log=house.log).create(Mode.ARCHIVE)
    refs = {buildmaster_ref(name, tree): commit for tree, commit in promoted.items()}
    _add_remote(client, name, into / f"{name}.gpg", url)
    with house.log.step(f"ostree pull {name} {' '.join(refs)}"):
        client.run("pull", name, *refs)
    for ref, commit in refs.items():
        got = client.run("rev-parse", f"{name}:{ref}").text
        if got != commit:
            raise Failed(f"the client got {got}, not the promoted {commit}", where=ref)
        said = client.run("show", f"--gpg-verify-remote={name}", commit).text
        if "Good signature" not in said:
            raise Failed(f"{commit} has no good signature", where=ref, hint=said)
        house.log.fact(f"{ref} {commit} with a good signature")
    _refuse_wrong_key(house, url, into, next(iter(refs)))


def _add_remote(client: Repo, name: str, key: Path, url: str) -> None:
    options = [f"--gpg-import={key}", "--set=gpg-verify-summary=true"]
    client.run("remote", "add", *options, name, f"{url}/repo")


def _refuse_wrong_key(house: House, url: str, into: Path, ref: str) -> None:
    """See to it that somebody else's key opens nothing."""
    other = Keyring(into / "other-keys", log=house.log)
    other.ensure("somebody else")
    write_bytes(into / "other.gpg", other.export())
    client = Repo(into / "other", log=house.log).create(Mode.ARCHIVE)
    _add_remote(client, "other", into / "other.gpg", url)
    try:
        client.run("pull", "other", ref)
    except CommandError as error:
        if "signature" not in str(error).lower():
            raise Trouble(f"the wrong key was refused for another reason: {error}") from error
        house.log.fact("a client that trusts another key is refused")
        return
    raise Failed("a client that trusts another key could pull", where=ref)
