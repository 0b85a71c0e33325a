# SPDX-License-Identifier: LGPL-2.1-or-later
"""The master's configuration: what Buildbot thinks of it, and what is refused."""

import subprocess
from pathlib import Path

import pytest

from pipeline.master.book import Book
from pipeline.master.builders import make_builders
from pipeline.ports.log import Log
from pipeline.ports.master_home import environment, prepare, twistd
from pipeline.ports.master_settings import read_master_settings, write_place, write_secret
from pipeline.words.errors import BadInput
from tests.work import TINY, TOP, Work


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return Work(TINY, tmp_path_factory.mktemp("checkconfig"))


@pytest.fixture
def home(work: Work, tmp_path: Path) -> Path:
    write_place(tmp_path, work=work.root, port=8010, worker_port=9989)
    (work.root / "ostci.toml").write_text('manifest = "../sample/manifest.yaml"\n')
    return tmp_path


def test_buildbot_takes_the_configuration(work: Work, tmp_path: Path) -> None:
    made = prepare(tmp_path, work=work.root, port=8010, worker_port=9989, log=Log())
    argv = [str(twistd().with_name("buildbot")), "checkconfig", str(made.master)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=120, check=False, env=dict(environment())
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Config file is good!" in done.stdout
    for place in (made.master, made.worker):
        text = (place / "buildbot.tac").read_text()
        assert made.settings.worker_password not in text, place
    assert (made.master / "secrets" / "worker").stat().st_mode & 0o777 == 0o600
    assert (made.master / "secrets").stat().st_mode & 0o777 == 0o700


def test_a_table_of_the_work_directory_sets_what_is_set(work: Work, home: Path) -> None:
    with (work.root / "ostci.toml").open("a") as file:
        file.write('[master]\nruns = 2\nslots = 3\n[master.users]\nalice = "operator"\n')
    write_secret(home, "user-alice", "wonderland")
    write_secret(home, "hook-plain", "tea")
    found = read_master_settings(home)
    assert found.run_slots == ("run-0", "run-1", "run-2")
    assert found.work_slots == ("work-1", "work-2", "work-3")
    assert found.passwords == {"alice": "wonderland"}
    assert found.hooks == {"plain": "tea"}
    assert found.manifest == (work.root.parent / "sample" / "manifest.yaml").resolve()


def test_what_a_worker_user_is_for_is_done_by_no_other(work: Work, home: Path) -> None:
    with (work.root / "ostci.toml").open("a") as file:
        file.write('[master]\nruns = 1\nslots = 2\nworker-user = "builder"\n')
        file.write('[master.remote.workers]\nanvil = {pool = "push"}\n')
    write_secret(home, "worker-anvil", "tea")
    settings = read_master_settings(home)
    local = settings.remote.local
    assert local is not None
    assert settings.remote.dock_of(local) == "http://127.0.0.1:8012"
    assert [one.name for one in settings.remote.others] == ["anvil"]
    found = {one.name: one.workernames for one in make_builders(Book(settings))}
    away = ["away-anvil-1", *local.slot_names]
    assert local.slot_names == ("away-local-1", "away-local-2")
    assert (found["component"], found["suite"]) == (away, away)
    assert (found["disk"], found["promote"]) == (["work-1", "work-2"], ["host"])


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('[master]\nworker-user = "a b"\n', "master.worker-user wants an account, not 'a b'"),
        (
            "[master.remote.workers]\nlocal = {}\n",
            "master.remote.workers.local: that one is of this machine",
        ),
        ("[master]\nruns = 0\n", "master.runs wants a number from 1, not 0"),
        ("[master]\nruns = true\n", "master.runs wants a number from 1, not True"),
        ('[master]\npoll = "60"\n', "master.poll wants a number from 1, not '60'"),
        ("[master]\nurl = 7\n", "master.url wants a text, not 7"),
        ("[master]\nspeed = 7\n", "master.speed is none of runs, slots"),
        (
            '[master.users]\nbob = "king"\n',
            "master.users.bob wants developer or operator, not 'king'",
        ),
        ('[master.users]\nbob = "operator"\n', "there is no secret user-bob"),
        ("master = 7\n", "master is a table"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    work: Work, home: Path, said: str, wanted: str
) -> None:
    with (work.root / "ostci.toml").open("a") as file:
        file.write(said)
    with pytest.raises(BadInput) as raised:
        read_master_settings(home)
    assert wanted in str(raised.value)


def test_a_secret_that_others_may_read_is_refused(home: Path) -> None:
    (home / "secrets" / "worker").chmod(0o644)
    with pytest.raises(BadInput, match="others may read this secret") as raised:
        read_master_settings(home)
    assert raised.value.hint == f"chmod 600 {home / 'secrets' / 'worker'}"


def test_the_example_of_a_latent_worker_is_one(work: Work, home: Path) -> None:
    """What the README shows is a configuration that Buildbot takes."""
    with (work.root / "ostci.toml").open("a") as file:
        file.write('[master.remote.workers]\nspare = {pool = "push"}\n')
    write_secret(home, "worker-spare", "word")
    text = (TOP / "pipeline" / "master" / "README.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    config = (TOP / "master.cfg").read_text()
    assert "Pipeline(settings)" in config
    config = config.replace("Pipeline(settings)", 'Pipeline(settings, latent=("spare",))')
    (home / "master.cfg").write_text(config + example)
    argv = [str(twistd().with_name("buildbot")), "checkconfig", str(home / "master.cfg")]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(environment()),
        cwd=home,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('dok = "x"', "master.remote.dok is none of listen, dock, url, largest"),
        ('listen = "9990"', "not an address to listen on: '9990'"),
        ("sample = 2", "master.remote.sample wants 0 to 1, not 2"),
        ("largest = 0", "master.remote.largest wants a number of MiB, not 0"),
        ('workers = {"a.b" = {}}', "a name is of letters, digits and dashes"),
        ('workers = {a = {pool = "x"}}', "pool wants push or try, not 'x'"),
        ("workers = {a = {slots = 0}}", "slots wants a number from 1, not 0"),
        ("workers = {a = {}}", "there is no secret worker-a"),
        ('listen = "0.0.0.0:1"\nworkers = {b = {}}', "there is no certificate"),
    ],
)
def test_wrong_settings_of_remote_workers_are_named(
    work: Work, home: Path, said: str, wanted: str
) -> None:
    with (work.root / "ostci.toml").open("a") as file:
        file.write(f"[master.remote]\n{said}\n")
    write_secret(home, "worker-b", "word")
    with pytest.raises(BadInput) as caught:
        read_master_settings(home)
    assert wanted in str(caught.value)
