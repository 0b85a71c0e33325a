# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine upgrades from another one, as signed. Run by ``tests/vm/test_debian.py``.

The server makes the next tree of its own and serves it over HTTP; only objects that are new are
there, which is all that a client asks for who has the tree before. The run's key never enters a
guest: what is signed here (the commit, the summary) is copied to the server.
"""

import base64
from pathlib import Path

from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.words.refs import Commit, RefName
from vmtests.bench import Bench
from vmtests.machine import Machine
from vmtests.several import Several

REPO = "/var/srv/repo"
REF = RefName("debian/buildmaster/x86_64-next")
FILE = "/usr/share/ostci-next"
PULL = ["ostree", "pull", f"server:{REF}"]
_MAKE = """
# make the next tree
set -e
booted=$(ostree admin status | sed -n 's/^\\* [^ ]* \\([0-9a-f]*\\)\\..*/\\1/p')
mkdir -p {repo} /var/srv/layer/usr/share
echo the next tree >/var/srv/layer{file}
ostree --repo={repo} init --mode=archive
ostree --repo={repo} config set core.parent /ostree/repo
ostree --repo={repo} commit --branch={ref} --bind-ref={ref} --subject=next --parent=$booted \\
    --tree=ref=$booted --tree=dir=/var/srv/layer
"""
_TELL = """
# tell it of the server and a key
set -e
mkdir -p /etc/ostree/remotes.d
echo '{key}' | base64 -d >/etc/ostree/server.gpg
cat >/etc/ostree/remotes.d/server.conf <<'END'
[remote "server"]
url=http://server:8080/
gpg-verify=true
gpg-verify-summary=true
gpgkeypath=/etc/ostree/server.gpg
END
"""


class Signing:
    """A key of the run's, and a repository that has nothing but the commit it signs."""

    def __init__(self, place: Path, *, log: Log) -> None:
        self.key = Keyring(place / "key", log=log)
        self.stranger = Keyring(place / "stranger", log=log)
        for one in (self.key, self.stranger):
            one.ensure("ostci test")
        self.repo = Repo(place / "repo", log=log).create(Mode.ARCHIVE)

    def sign(self, server: Machine, commit: Commit, *, by: Keyring) -> None:
        """Sign a commit that the server has, and a summary that names it."""
        name = f"objects/{commit[:2]}/{commit[2:]}"
        local = self.repo.path / name
        local.parent.mkdir(exist_ok=True)
        local.with_suffix(".commit").write_bytes(server.read_file(f"{REPO}/{name}.commit"))
        local.with_suffix(".commitmeta").unlink(missing_ok=True)
        self.repo.set_ref(REF, commit)
        with by.unlocked() as home:
            options = [f"--gpg-homedir={home}"]
            self.repo.run("gpg-sign", *options, commit, by.fingerprint)
            self.repo.run("summary", "--update", *options, f"--gpg-sign={by.fingerprint}")
        for file in (f"{name}.commitmeta", "summary", "summary.sig"):
            server.write_file(f"{REPO}/{file}", (self.repo.path / file).read_bytes())


def trust(client: Machine, key: bytes) -> None:
    done = client.shell(_TELL.format(key=base64.b64encode(key).decode()))
    assert done.code == 0, done.error_text


def refused(client: Machine) -> str:
    """Have a client pull what it must not take; tells why it did not."""
    said = client.fails(PULL, timeout_s=60.0)
    client.fails(["ostree", "rev-parse", f"server:{REF}"])
    return said.lower()


def test_a_client_takes_from_a_server_what_the_run_signed_and_nothing_else(
    machines: Several, bench: Bench, tmp_path: Path
) -> None:
    signing = Signing(tmp_path, log=bench.log)
    server, client = machines("server", "client")
    made = server.shell(_MAKE.format(repo=REPO, ref=REF, file=FILE), timeout_s=60.0)
    assert made.code == 0, made.error_text
    commit = Commit(made.text.strip().splitlines()[-1])
    server.succeeds(["busybox", "httpd", "-p", "8080", "-h", REPO])
    server.wait_for_port(8080)

    trust(client, signing.key.export())
    assert "no summary found" in refused(client), "it was signed by nobody"
    signing.sign(server, commit, by=signing.stranger)
    assert "signature" in refused(client), "it was signed by a stranger"

    signing.sign(server, commit, by=signing.key)
    client.succeeds(PULL, timeout_s=60.0)
    assert client.succeeds(["ostree", "rev-parse", f"server:{REF}"]) == commit
    assert client.succeeds(["ostree", "cat", commit, FILE]) == "the next tree"

    # Nor does a client take it that trusts somebody else.
    client.succeeds(["ostree", "refs", "--delete", f"server:{REF}"])
    trust(client, signing.stranger.export())
    assert "signature" in refused(client), "another key was trusted"

    trust(client, signing.key.export())
    osname = bench.parameters.disk.osname
    switch = ["ostree", "admin", "switch", f"--os={osname}", f"server:{REF}"]
    client.succeeds(switch, timeout_s=120.0)
    client.reboot(timeout_s=60.0)
    assert client.booted_commit() == commit
    assert client.read_file(FILE) == b"the next tree\n"
    # It has its place in the network again.
    client.succeeds(PULL, timeout_s=60.0)
