# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forced runs and tries from the page, who may ask for them, and what comes first."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import BASE, NewPush, Push, PushState, Via
from pipeline.words.wish import How, Replacement, Wish
from tests.masters import FakeUp
from tests.work import Said, run_ostci

pytestmark = pytest.mark.slow
USERS = {"dora": "developer", "olga": "operator"}
REVISION = "b" * 40


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    made = FakeUp(tmp_path_factory.mktemp("asking"), attempts=2, users=USERS, runs=6, slots=1)
    home = made.home / "master"
    home.mkdir(parents=True)
    for user in USERS:
        write_secret(home, f"user-{user}", "opensesame")
    with made:
        yield made


def ask(up: FakeUp, form: str, user: str = "dora", **given: str) -> tuple[int, Any]:
    """Send a form of the page."""
    login = {"user": user, "password": "opensesame"} if user else {}
    return up.control(f"forceschedulers/{form} force", **login, **given)


def calls_of(up: FakeUp, push: Push) -> list[str]:
    """List the verbs that were given for the run of a push."""
    run = up.ledger.pushes.get(push.id).run
    return [call.split()[0] for call in up.calls() if str(run) in call.split()]


def newest(up: FakeUp) -> Push:
    (found,) = up.ledger.pushes.newest(1)
    return found


def test_a_developer_forces_a_run_which_goes_the_way_of_a_push(up: FakeUp) -> None:
    given = {"component": "hello", "revision": REVISION, "rebuild": "hello, hello-lib"}
    code, answer = ask(up, "force", **given, suites="smoke", targets="runtime", reason="to see")
    assert code == 200, answer
    push = newest(up)
    assert (push.component, push.after, push.via, push.note) == (
        "hello",
        REVISION,
        Via.FORCE,
        "to see",
    )
    assert push.wish == Wish(
        by="dora", rebuild=("hello", "hello-lib"), targets=("runtime",), suites=("smoke",)
    )
    (done,) = up.wait_ended(push)
    assert (done.state, done.attempts) == (PushState.DONE, 1)
    assert calls_of(up, push)[-2:] == ["promote", "end"]
    # The answer leads to the request that the reconciler made, and there is no other.
    mine = [build for build in up.builds() if build["props"].get("push") == push.id]
    assert [build["buildrequestid"] for build in mine] == list(answer["result"][1].values())


def test_a_try_from_the_page_is_judged_and_not_promoted(up: FakeUp) -> None:
    code, answer = ask(up, "try", replace="hello=topic, hello-lib=1a2b3c4")
    assert code == 200, answer
    push = newest(up)
    assert push.is_try and push.wish.by == "dora"
    assert push.wish.replaced == (
        Replacement(component="hello", how=How.REVISION, given="topic"),
        Replacement(component="hello-lib", how=How.REVISION, given="1a2b3c4"),
    )
    up.wait_ended(push)
    assert calls_of(up, push)[-2:] == ["judge", "end"]
    suite = up.builds("suite/x86_64-runtime/smoke")[-1]
    assert suite["props"]["try"] is True, "workers of the pool for tries may do it"
    assert "promote" not in calls_of(up, push)


@pytest.mark.parametrize(
    ("form", "given", "told"),
    [
        ("force", {"component": "helo"}, "did you mean"),
        ("force", {}, "component"),
        ("force", {"component": "hello", "revision": "HEAD"}, "revision"),
        ("force", {"component": "hello", "rebuild": "nothing"}, "the manifest has no component"),
        ("force", {"component": "hello", "targets": "nothing"}, "targets"),
        ("try", {"replace": "hello"}, "not COMPONENT="),
        ("try", {"replace": "hello=--exec"}, "would be read as an option"),
        ("try", {"replace": "hello=$(id)"}, "replace"),
        ("try", {"replace": "x" * 3000}, "replace"),
    ],
)
def test_what_cannot_be_asked_for_is_told_and_not_written_down(
    up: FakeUp, form: str, given: dict[str, str], told: str
) -> None:
    before = newest(up).id
    code, answer = ask(up, form, **given)
    assert code == 400 and told in str(answer), answer
    assert newest(up).id == before


def test_a_try_is_sent_to_a_server_by_who_may(up: FakeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(user: str, password: str, *words: str, code: int) -> Said:
        monkeypatch.setenv("OSTCI_PASSWORD", password)
        return run_ostci(None, "try", "--server", up.url, "--user", user, *words, code=code)

    before = newest(up).id
    assert "password" in send("dora", "wrong", "hello=topic", code=2).err
    assert "no component 'helo'" in send("dora", "opensesame", "helo=topic", code=2).err
    far = run_ostci(None, "try", "--server", "http://192.0.2.1/", "hello=topic", code=2)
    assert "would show the password" in far.err
    assert newest(up).id == before
    said = send("dora", "opensesame", "hello=topic", "--suite", "smoke", code=0)
    push = newest(up)
    assert push.is_try and (push.wish.by, push.wish.suites) == ("dora", ("smoke",))
    (request,) = up.get(f"buildrequests/{said.out.rpartition('/')[2].strip()}")["buildrequests"]
    up.wait_ended(push)
    mine = [build for build in up.builds() if build["props"].get("push") == push.id]
    assert mine[0]["buildrequestid"] == request["buildrequestid"]


def test_everybody_does_what_is_theirs_and_no_more(up: FakeUp) -> None:
    before = newest(up).id
    for form in ("force", "try"):
        assert ask(up, form, user="", component="hello", replace="hello=topic")[0] == 403
    assert newest(up).id == before
    build = up.builds()[-1]["buildid"]
    login = {"user": "dora", "password": "opensesame"}
    assert up.control(f"builds/{build} stop", **login)[0] == 403
    assert up.control(f"builds/{build} rebuild")[0] == 403
    assert ask(up, "force", user="olga", component="hello")[0] == 200, "operators may, too"
    up.wait_ended(newest(up))


def add(up: FakeUp, component: str, via: Via, by: str = "") -> Push:
    """Write a push down."""
    return up.ledger.pushes.add(
        NewPush(
            component=component,
            url="/srv/git",
            branch="" if via is Via.TRY else "master",
            before="",
            after="a" * 40,
            via=via,
            wish=Wish(by=by),
        )
    )


def test_tries_and_pushes_come_before_what_is_scheduled_and_all_have_their_turn(
    up: FakeUp,
) -> None:
    up.tell("build-hello-lib", "hang")
    first = up.push("init")
    up.wait(lambda: up.calls()[-1] == "hangs build", "the only slot is taken")

    component = next(one for one in up.get("builders")["builders"] if one["name"] == "component")

    def asked_for(number: int) -> bool:
        # That of a run waits, too, for a moment.
        query = f"buildrequests?complete=false&claimed=false&builderid={component['builderid']}"
        return len(up.get(query)["buildrequests"]) == number

    others = []
    for number, (component, via) in enumerate(
        [
            (BASE, Via.BASE),
            ("greeting", Via.POLL),
            ("greeting", Via.POLL),
            ("hello", Via.POLL),
            ("hello", Via.TRY),
        ]
    ):
        others.append(add(up, component, via, by="dora"))
        up.wait(partial(asked_for, number + 1), f"{number + 1} wait")
    base, greeting, greeting_again, hello, tried = others
    began = len(up.calls())
    running = [one for one in up.builds() if one["props"].get("push") == first.id][-1]
    stop = f"builds/{running['buildid']} stop"
    assert up.control(stop, user="olga", password="opensesame", reason="go on")[0] == 200
    up.wait_ended(first, *others)
    built = [call for call in up.calls()[began:] if call.startswith("build hello-lib --run")]
    runs = {up.ledger.pushes.get(push.id).run: push.id for push in others}
    order = [runs[call.split()[3]] for call in built]
    assert order == [one.id for one in (greeting, hello, tried, greeting_again, base)]
