# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports over real connections: who is told what, when, and what becomes of a dead receiver."""

import hashlib
import hmac
import json
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from email import message_from_string, policy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.ports.master_home import free_port
from pipeline.words.push import NewPush, Push, PushState
from tests.masters import FakeUp
from tests.receivers import Kept, http_server, irc_server, smtp_server, tls_context
from tests.remote import make_certificate
from tests.work import TOP

pytestmark = pytest.mark.slow
ZLIB = "https://hub.example/own/zlib.git"
LAB = "git@lab.example:group/sub/tool.git"
DEAD = "https://dead.example/own/lost.git"


@dataclass
class Told:
    """A master, and all that it told."""

    up: FakeUp
    http: Kept
    smtp: Kept
    irc: Kept
    certificates: Path

    def push(self, component: str, url: str, after: str, ending: str = "passed") -> Push:
        """Write down a push that has ended, as ``ostci run --push`` leaves it."""
        ledger = self.up.ledger
        push = ledger.pushes.add(_new(component, url, after))
        run = f"20261128.{push.id + 100}"
        ledger.begin_run(run, "tiny", time.time())
        ledger.pushes.assign_run(push.id, run)
        ledger.end_run(run, ending)
        ledger.pushes.end(push.id, PushState.DONE, f"it {ending}")
        return ledger.pushes.get(push.id)

    def build(self, component: str, url: str, after: str) -> Push:
        """Have a push go its way and fail."""
        self.up.tell("end-ending", "failed")
        self.up.tell("resolve", "0")
        self.up.tell("plan", 1)
        (push,) = self.up.wait_ended(self.up.ledger.pushes.add(_new(component, url, after)))
        return push

    def states(self, path: str) -> list[str]:
        """List the states that were posted to a path."""
        return [one["state"] for one in self.http.of(path)]

    def wait_states(self, path: str, *states: str) -> None:
        """Wait until a commit has had these states."""
        told = f"{path} is told {states}"
        self.up.wait(lambda: self.states(path)[-len(states) :] == list(states), told)


def _new(component: str, url: str, after: str) -> NewPush:
    return NewPush(component=component, url=url, branch="main", before="0" * 40, after=after * 40)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    root: Path = tmp_path_factory.mktemp("reports")
    place = tmp_path_factory.mktemp("certificates")
    make_certificate(place, place)
    context, ca = tls_context(place), str(place / "ca.pem")
    with ExitStack() as stack:
        http = stack.enter_context(http_server())
        smtp = stack.enter_context(smtp_server(starttls=context))
        irc = stack.enter_context(irc_server(tls=context))
        here = f"http://127.0.0.1:{http.port}"
        report: dict[str, Any] = {
            "github": {"host": "hub.example", "api": here},
            "gitlab": {"host": "lab.example", "api": here},
            "gitea": {"host": "dead.example", "api": f"http://127.0.0.1:{free_port()}"},
            "webhook": {"url": f"{here}/hook"},
            "mail": {
                "server": f"127.0.0.1:{smtp.port}",
                "sender": "ci@x.org",
                "to": ["os@x.org"],
                "tls": "starttls",
                "ca": ca,
            },
            "irc": {"server": f"127.0.0.1:{irc.port}", "channel": "#os", "tls": True, "ca": ca},
        }
        up = FakeUp(root, report=report)
        secrets = up.home / "master" / "secrets"
        secrets.mkdir(parents=True, mode=0o700)
        for kind in ("github", "gitlab", "gitea", "webhook"):
            path = secrets / f"report-{kind}"
            path.touch(0o600)
            path.write_text(f"secret of {kind}")
        stack.enter_context(up)
        yield Told(up, http, smtp, irc, place)


def test_people_are_told_of_changes_and_a_forge_of_each_commit(told: Told) -> None:
    told.push("lost", DEAD, "1")
    github = "/repos/own/zlib/statuses/"
    told.push("zlib", ZLIB, "a")
    told.wait_states(github + "a" * 40, "success")
    bad = told.build("zlib", ZLIB, "b")
    told.wait_states(github + "b" * 40, "pending", "failure")
    told.push("zlib", ZLIB, "c", "failed")
    told.wait_states(github + "c" * 40, "failure")
    good = told.push("zlib", ZLIB, "d")
    told.wait_states(github + "d" * 40, "success")

    told.up.wait(lambda: len(told.smtp.mails) == 2, "two mails of four pushes")
    told.up.wait(lambda: len(told.http.of("/hook")) == 2, "two webhooks of four pushes")
    told.up.wait(lambda: len(notices(told)) == 2, "two lines of four pushes")
    heads = [line.partition(" :")[2] for line in notices(told)]
    assert heads[0].startswith("[tiny] zlib bbbbbbbbbbbb: failed (was passed)"), heads
    assert heads[1].startswith("[tiny] zlib dddddddddddd: passed (was failed)"), heads
    first, last = told.http.of("/hook")
    assert [first[name] for name in ("push", "verdict", "was", "after", "run")] == [
        bad.id,
        "failed",
        "passed",
        "b" * 40,
        bad.run,
    ]
    assert (last["push"], last["verdict"], last["was"]) == (good.id, "passed", "failed")
    check_signature(told)
    check_mail(told, bad)
    status = told.http.of(github + "b" * 40)[-1]
    assert status["context"] == "ostci/tiny"
    assert status["target_url"] == first["page"]
    (build,) = [one for one in told.up.builds() if one["props"].get("push") == bad.id]
    number = f"builders/{build['builderid']}/builds/{build['number']}"
    assert first["page"] == f"{told.up.url}#/{number}"
    sent = next(one for one in told.http.posted if one.path.startswith(github))
    assert sent.headers["Authorization"] == "token secret of github"


def is_in(log: Path, words: str) -> bool:
    return words in log.read_text()


def notices(told: Told) -> list[str]:
    return [line for line in told.irc.lines if line.startswith("NOTICE #os ")]


def check_signature(told: Told) -> None:
    sent = next(one for one in told.http.posted if one.path == "/hook")
    wanted = hmac.new(b"secret of webhook", sent.body, hashlib.sha256).hexdigest()
    assert sent.headers["X-Ostci-Signature"] == f"sha256={wanted}"


def check_mail(told: Told, bad: Push) -> None:
    mail = message_from_string(told.smtp.mails[0], policy=policy.default)
    assert str(mail["Subject"]).startswith("[tiny] zlib bbbbbbbbbbbb: failed (was passed)")
    text = mail.get_content()
    assert f"ostci -C {told.up.root} run --push {bad.id}" in text
    assert "b" * 40 in text


def test_a_project_of_gitlab_is_named_by_its_whole_path(told: Told) -> None:
    told.push("tool", LAB, "e")
    path = "/api/v4/projects/group%2Fsub%2Ftool/statuses/" + "e" * 40
    told.wait_states(path, "success")
    sent = next(one for one in told.http.posted if one.path == path)
    assert sent.headers["Private-Token"] == "secret of gitlab"


def test_a_dead_receiver_is_told_once_and_holds_up_nobody(told: Told) -> None:
    told.push("lost", DEAD, "2")
    log = told.up.home / "master" / "twistd.log"
    told.up.wait(lambda: "did not reach gitea" in log.read_text(), "that it is dead is told")
    told.push("lost", DEAD, "3")
    told.up.wait(lambda: told.up.get("builds?complete=false")["builds"] == [], "all is over")
    assert log.read_text().count("did not reach gitea") == 1
    assert figures(told, "ostci_report_failures")[("gitea",)] >= 1
    assert figures(told, "ostci_report_failures")[("mail",)] == 0
    assert "secret of" not in log.read_text()


def test_metrics_are_what_prometheus_reads(told: Told) -> None:
    before = figures(told, "ostci_runs")  # stages are counted from this look on
    told.build("tool", LAB, "9")
    told.up.wait(lambda: told.up.get("builds?complete=false")["builds"] == [], "all is over")
    told.up.wait(
        lambda: figures(told, "ostci_stage_seconds") == {("plan",): 1},  # the count comes last
        "its stage is counted",
    )
    runs = {push.run for push in told.up.ledger.pushes.newest(99)}
    told.up.wait(
        lambda: sum(figures(told, "ostci_runs").values()) == len(runs), "all runs are counted"
    )
    endings = figures(told, "ostci_runs")
    assert endings[("failed",)] == before.get(("failed",), 0) + 1
    assert figures(told, "ostci_pushes_open") == {("waiting",): 0, ("running",): 0}
    workers = figures(told, "ostci_workers_connected"), figures(told, "ostci_workers")
    assert workers[0] == workers[1] == {(): 6}
    assert figures(told, "ostci_disk_free_bytes")[()] > 0
    assert ("gitea",) in figures(told, "ostci_report_failures")
    assert set(figures(told, "ostci_builds_running")) >= {("run",), ("component",), ("promote",)}


def figures(told: Told, name: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(f"{told.up.url}metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    found = [one for one in text_string_to_metric_families(text) if one.name == name]
    if not found:
        return {}  # of what was never counted there is no sample
    (family,) = found
    assert family.documentation
    assert family.type != "unknown"
    return {tuple(one.labels.values()): one.value for one in family.samples}


def doctor(told: Told) -> dict[str, dict[str, Any]]:
    """Tell what the doctor says of the master, by name."""
    argv = told.up.work.argv("doctor", "--no-boot", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=TOP)
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_the_doctor_knows_the_master(told: Told) -> None:
    found = doctor(told)
    for name in ("secrets", "database", "up", "workers"):
        assert found[f"master's {name}"]["ok"], found
    user = found["master's worker user"]
    assert (user["ok"], user["needed"]) == (False, False) and "worker-user = " in user["mend"]
    secret = told.up.home / "master" / "secrets" / "left-over"
    secret.touch(0o644)
    assert "others may read left-over" in doctor(told)["master's secrets"]["words"]
    secret.unlink()


@pytest.mark.full
def test_a_certificate_that_is_not_trusted_is_told_once_and_fails_no_run(told: Told) -> None:
    lines, mails = len(notices(told)), len(told.smtp.mails)
    ca = told.certificates / "ca.pem"
    good = ca.read_text()
    other = told.certificates / "other"
    other.mkdir()
    make_certificate(other, other)
    ca.write_text((other / "ca.pem").read_text())
    bad = told.build("zlib", ZLIB, "4")
    assert bad.state is PushState.DONE
    log = told.up.home / "master" / "twistd.log"
    for name in ("irc", "mail"):
        words = (
            f"a report did not reach {name}, which is told this once: ConnectionError: TLS failed"
        )
        told.up.wait(partial(is_in, log, words), words)
    assert (len(notices(told)), len(told.smtp.mails)) == (lines, mails)
    ca.write_text(good)
    told.push("zlib", ZLIB, "5")
    told.up.wait(lambda: len(notices(told)) == lines + 1, "the next one reaches IRC")
    told.up.wait(lambda: len(told.smtp.mails) == mails + 1, "and the mail server")
    assert "reports reach irc again" in log.read_text()


@pytest.mark.full
def test_what_was_told_is_not_told_again_by_the_next_master(told: Told) -> None:
    told.build("zlib", ZLIB, "7")
    last = told.push("zlib", ZLIB, "8")
    told.wait_states("/repos/own/zlib/statuses/" + "8" * 40, "success")
    # A kill between telling and noting tells it twice; here it comes after.
    noted = f"""select count(*) from object_state where name = 'told'
        and json_extract(json_extract(value_json, '$'), '$."{last.id}"') = 'passed'"""
    told.up.wait(lambda: count(told, noted) == 1, "that it was told is noted")
    assert count(told, "select count(*) from logchunks") > 0
    # As if all that was built was built long ago: the next master drops what was said then.
    count(told, "update steps set started_at = started_at - 86400 * 100")
    told.up.kill("master")
    told.up.wait(told.up.is_up, "the master is up again")
    told.up.wait(lambda: count(told, "select count(*) from logchunks") == 0, "old logs are dropped")
    told.push("zlib", ZLIB, "f")
    told.wait_states("/repos/own/zlib/statuses/" + "f" * 40, "success")
    assert told.states("/repos/own/zlib/statuses/" + "7" * 40).count("failure") == 1
    assert told.states("/repos/own/zlib/statuses/" + "8" * 40).count("success") == 1
    news = [one["push"] for one in told.http.of("/hook")]
    assert len(news) == len(set(news))


def count(told: Told, statement: str) -> int:
    path = told.up.home / "master" / "state.sqlite"
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        row = database.execute(statement).fetchone()
    return int(row[0]) if row else 0
