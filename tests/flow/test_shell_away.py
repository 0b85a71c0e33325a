# SPDX-License-Identifier: LGPL-2.1-or-later
"""A build that failed on a worker: entered there where that is this machine, else told where."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.ports.dock import docking
from pipeline.ports.log import Log
from pipeline.ports.worker_home import prepare_worker
from pipeline.stages.test import failures
from pipeline.words.kept import KeptMachine
from pipeline.words.refs import Commit
from tests.cheap import Cheap
from tests.work import run_ostci

pytestmark = pytest.mark.slow
JOB = ("build", "one")


@pytest.mark.parametrize("name", ["local", "anvil"])
def test_what_failed_on_a_worker_is_entered_where_it_is(tmp_path: Path, name: str) -> None:
    master = Cheap(tmp_path)
    master.change("one", fails=True)
    manifest = tmp_path / "cheap.yaml"
    manifest.write_text(manifest.read_text().replace('"components": []', _ONE))
    master.ostci("resolve")
    workdir = master.house().workdir
    (version,) = workdir.versions()
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("of it\n")
    home = prepare_worker(
        master.root / "buildbot" / "builder" if name == "local" else tmp_path / "home",
        name=name,
        server="127.0.0.1:1",
        password_file=password,
        ca=None,
        slots=1,
        room=0,
    )
    of, file = ("--run", version), str(tmp_path / "offer.tar")
    master.ostci("assign", *JOB, *of)
    with docking(
        "127.0.0.1:0", workdir, passwords={name: "of it"}, certificate=None, log=Log()
    ) as url:
        told = ("--from", url, "--into", file, "--beside", str(workdir.repo))
        said = run_ostci(home.workdir.root, "perform", *JOB, *of, *told, code=1)
    assert said.out.splitlines()[-1] == f'{{"offered": "{file}"}}'
    sent = ("--file", file, "--worker", name, "--pool", "push", "--code", "1")
    master.ostci("take", *JOB, *of, *sent, code=1)
    words = ("shell", "one", "--", "cat", "build.sh")
    if name == "anvil":
        said = master.ostci(*words, code=2)
        assert "one was built on worker anvil, which keeps what it left" in said.err
        line = f"ostci -C HOME-OF-THE-WORKER/work shell --run {version} one -- cat build.sh"
        assert f"there: {line}" in said.err
    elif os.geteuid() == 0:
        assert "exit 1" in master.ostci(*words).out
    else:
        assert "sudo runuser -u" in master.ostci(*words, code=2).err


_ONE = (
    '"components": [{"src": "git:./git/one", "build": {"commands": ["sh ./build.sh"]},'
    ' "depends": []}]'
)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone looks into the home of a worker")
def test_a_machine_that_this_machines_worker_keeps_is_told_and_entered_there(
    tmp_path: Path,
) -> None:
    master = Cheap(tmp_path)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("of it\n")
    home = prepare_worker(
        master.root / "buildbot" / "builder",
        name="local",
        server="127.0.0.1:1",
        password_file=password,
        ca=None,
        slots=1,
        room=0,
    )
    assert master.ostci("attach", "--list").out.strip() == "no machine is kept"
    kept = KeptMachine(
        run="20260101.0",
        tree="x86_64-runtime",
        suite="installed",
        test="a/b.test",
        commit=Commit("0" * 64),
        since=1.0,
    )
    place = failures(home.workdir.cache) / kept.key
    place.mkdir(parents=True)
    (place / "machine.json").write_text(json.dumps(asdict(kept)))
    (place / "record.json").write_text("{}")
    (told,) = master.json("attach", "--list")
    assert (told["run"], told["test"]) == (kept.run, kept.test)
    # It is that worker's command which finds out that there is nothing to go on from.
    said = master.ostci("attach", "x86_64-runtime", code=3)
    told = "the machine of x86_64-runtime installed/a/b.test of run 20260101.0 is damaged"
    assert told in said.err
