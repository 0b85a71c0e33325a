# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page with 1,000 runs in Buildbot's database and 20 on their way: what a browser asks for.

Some runs are gone through for real, with a pretended ``ostci``; their rows are then written into
the database again and again, under new numbers, while no master is up.
"""

import sqlite3
import statistics
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.words.push import PushState
from tests.bench import hooked
from tests.bench.frame import Row, p95
from tests.masters import FakeUp

RUNS = 1000
FIRST = 5
GOING = 20
ROUNDS = 15
ANSWER_S = 0.3
_START_S = 300.0
# Table → its own number, and the columns that are numbers of rows of other tables.
_COPIED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sourcestamps": ("id", {}),
    "changes": ("changeid", {"sourcestampid": "sourcestamps"}),
    "buildsets": ("id", {"parent_buildid": "builds"}),
    "buildset_properties": ("", {"buildsetid": "buildsets"}),
    "buildset_sourcestamps": ("id", {"buildsetid": "buildsets", "sourcestampid": "sourcestamps"}),
    "buildrequests": ("id", {"buildsetid": "buildsets"}),
    "buildrequest_claims": ("", {"brid": "buildrequests"}),
    "builds": ("id", {"buildrequestid": "buildrequests"}),
    "build_properties": ("", {"buildid": "builds"}),
    "steps": ("id", {"buildid": "builds"}),
    "logs": ("id", {"stepid": "steps"}),
    "logchunks": ("", {"logid": "logs"}),
}
# What the pages of Buildbot 4.3 ask for: home, a run's build and its steps, builders, the views.
ASKED = {
    "page": "",
    "home": "api/v2/builds?order=-buildid&complete=true&limit=20",
    "at work": "api/v2/builds?order=-started_at&complete=false",
    "builders": "api/v2/builders",
    "runs": "api/v2/builders/run/builds?order=-number&limit=50&property=*",
    "a run": "api/v2/builds/{build}/steps",
    "its properties": "api/v2/builds/{build}/properties",
    "its children": "api/v2/builds/{build}/triggered_builds",
    "changes": "api/v2/changes?order=-changeid&limit=50",
    "console": "api/v2/builds?order=-buildid&limit=200",
    "waiting": "api/v2/buildrequests?order=-submitted_at&claimed=false&limit=50",
    "workers": "api/v2/workers",
}


def bench(scratch: Path) -> Iterator[Row]:
    """Measure how long answers take, one asked after the other."""
    up = FakeUp(scratch / "page", **{**hooked.SETTINGS, "runs": GOING, "slots": 2})
    with up:
        done = up.wait_ended(*[up.push() for _ in range(FIRST)], within_s=_START_S)
        assert {push.state for push in done} == {PushState.DONE}
        up.wait(lambda: len(up.builds()) == FIRST, "all have builds")
        up.wait(lambda: not up.get("builds?complete=false")["builds"], "all builds are over")
    database = up.home / "master" / "state.sqlite"
    _multiply(database, RUNS // FIRST)
    up.tell("resolve", *["hang"] * GOING)
    with up:
        for _ in range(GOING):
            up.push()
        up.wait(lambda: _going(up) == GOING, f"{GOING} are on their way", within_s=_START_S)
        runs = up.get("builders/run/builds?order=-number&limit=100&complete=true")["builds"]
        assert runs[0]["number"] == RUNS, runs[0]
        seconds = _ask(up, runs[0]["buildid"])
        assert _going(up) == GOING
    every = [one for found in seconds.values() for one in found]
    slow = sorted(seconds, key=lambda name: -p95(seconds[name]))[:3]
    told = ", ".join(f"{name} {p95(seconds[name]) * 1000:.0f} ms" for name in slow)
    yield Row(
        name=f"page and /api, {RUNS:,} runs known and {GOING} on their way, p95",
        ours=p95(every),
        reach=f"≤ {ANSWER_S * 1000:.0f} ms",
        reached=p95(every) <= ANSWER_S,
        note=f"median {statistics.median(every) * 1000:.0f} ms; slowest p95: {told};"
        f" {database.stat().st_size / 1024**2:.0f} MiB of database",
        rounds=ROUNDS,
    )


def _going(up: FakeUp) -> int:
    return up.calls().count("hangs resolve")


def _ask(up: FakeUp, build: int) -> Mapping[str, list[float]]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, path in ASKED.items():
            url = up.url + path.format(build=build)
            began = time.monotonic()
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.read()
            seconds[name].append(time.monotonic() - began)
    return seconds


def _multiply(path: Path, times: int) -> None:
    """Write all rows of a database ``times`` - 1 times more, with their links to each other."""
    with sqlite3.connect(path) as database:
        rows = {name: _rows(database, name) for name in _COPIED}
        steps = {
            name: max((row[own] for row in rows[name]), default=0)
            for name, (own, _) in _COPIED.items()
            if own
        }
        numbers: dict[int, int] = defaultdict(int)
        for row in rows["builds"]:
            numbers[row["builderid"]] = max(numbers[row["builderid"]], row["number"])
        for copy in range(1, times):
            for name, (own, links) in _COPIED.items():
                made = []
                for row in rows[name]:
                    new = {**row, **({own: row[own] + copy * steps[name]} if own else {})}
                    for column, table in links.items():
                        if new[column] is not None:
                            new[column] += copy * steps[table]
                    if name == "builds":
                        new["number"] += copy * numbers[row["builderid"]]
                    if name == "sourcestamps":
                        new["ss_hash"] = f"{copy:08}{row['ss_hash'][8:]}"
                    made.append(tuple(new.values()))
                if made:
                    marks = ", ".join("?" * len(made[0]))
                    database.executemany(f"insert into {name} values ({marks})", made)


def _rows(database: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    found = database.execute(f"select * from {name}")
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found]
