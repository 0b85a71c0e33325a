# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make demo``: the main job on an embedded default, as people do it.

Buildbot, the work directory and git repositories come up. A sample OS is built, booted and
promoted; then a push that changes one component goes the same way; then one that breaks the boot
is held back; at last a stock OSTree client pulls what was promoted, over HTTP and with its
signatures verified. Without Buildbot, ``ostci run`` goes the way of each push.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.cli.demo_buildbot import Buildbot
from pipeline.cli.demo_told import Told
from pipeline.cli.house import House, init
from pipeline.cli.main import main as run_main
from pipeline.cli.record import records
from pipeline.cli.sample import Sample
from pipeline.cli.story import Push, read_story
from pipeline.cli.terminal import TerminalSink, live
from pipeline.ports import process
from pipeline.ports.log import Level, Line, Log
from pipeline.ports.userns import remove_tree
from pipeline.words.errors import EXIT_PASSED, Failed
from pipeline.words.refs import buildmaster_ref
from pipeline.words.run import RunEnding, RunRecord

TOP = Path(__file__).resolve().parents[2]
_HOUR_S = 3600.0
_QUOTED = 3


class _Quoted:
    """A sink for what is not ours, and for warnings."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def write(self, line: Line) -> None:
        """Tell a line, unless it is a detail; a step is only shown while it runs."""
        self._told.sink.running.note(line)
        if line.level >= Level.FACT and not line.began and line.ended_s is None:
            self._told.quote([line.text])


class Demo:
    """The demo on one sample, in a directory of its own that is made anew."""

    def __init__(self, manifest: Path, root: Path, told: Told) -> None:
        self.manifest = manifest
        self.root = root
        self.told = told
        self.log = Log(_Quoted(told))
        self.story = read_story(manifest)
        self.sample = Sample(root / "sample", log=self.log)
        self.house: House
        self.buildbot: Buildbot | None = None

    def prepare(self, *, buildbot: bool) -> None:
        """Make the sample's repositories and a work directory; nothing is started yet."""
        remove_tree(self.root)
        self.sample.make(self.manifest)
        init(self.root / "work", self.sample.manifest)
        self.house = House(self.root / "work", log=self.log)
        if buildbot:
            self.buildbot = Buildbot(self.house, self.told)
            self.sample.host(self.buildbot.hook())

    @contextmanager
    def up(self) -> Iterator[None]:
        """Have Buildbot for the length of the ``with``, where it is wanted."""
        if self.buildbot is None:
            yield
            return
        with live(self.told.sink), self.buildbot.up():
            self.told.fact(f"Buildbot is up; watch all of this at {self.buildbot.url}")
            yield

    def go_first(self) -> RunRecord:
        """Have everything built, booted and promoted."""
        if self.buildbot is None:
            return self._by_hand(RunEnding.PASSED)
        self._command("push", "manifest")
        process.run(self._ostci("push", "manifest"), log=self.log)
        return _ended(self.buildbot.follow_manifest(), RunEnding.PASSED)

    def push(self, push: Push, ending: RunEnding) -> RunRecord:
        """Edit, commit and push as a developer would, and go along to an ending."""
        if self.buildbot is not None:
            self.buildbot.wait_watched(push.component)
        self.sample.edit(push.component, push.file, push.old, push.new)
        self.told.quote([f"{push.component}/{push.file}"])
        self.told.quote([f"- {push.old}"], "red")
        self.told.quote([f"+ {push.new}"], "green")
        self.told.command(f"git commit -am {shlex.quote(push.subject)} && git push")
        revision = self.sample.push(push.component, push.subject)
        if self.buildbot is None:
            return self._by_hand(ending)
        return _ended(self.buildbot.follow(revision), ending)

    def _by_hand(self, ending: RunEnding) -> RunRecord:
        self._command("run")
        # The terminal itself is handed on, so that progress looks as it does by hand.
        argv = self._ostci("run")
        with process.start(argv, log=self.log, stdout=None, stderr=None, grace_s=15) as child:
            child.wait(_HOUR_S)
        return _ended(next(iter(records(self.house.workdir)))[1], ending)

    def _ostci(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "pipeline.cli.main",
            "-C",
            str(self.house.workdir.root),
            *words,
        ]

    def _command(self, *words: str) -> None:
        self.told.command(self.command(*words))

    def command(self, *words: str) -> str:
        """Write an ``ostci`` command as it can be pasted from here."""
        ostci = "ostci" if shutil.which("ostci") else _near(Path(sys.executable).with_name("ostci"))
        return shlex.join([ostci, "-C", _near(self.house.workdir.root), *words])

    def only_built(self, record: RunRecord, component: str) -> None:
        """Check that a run built this component and no other."""
        run = self.house.workdir.run(record.version)
        built = json.loads(run.file("build").read_text())["built"]
        if built != [component]:
            raise Failed(f"{built} were built, not only {component}", where="demo")
        self.told.fact(f"only {component} was built, everything else was kept", "green")

    def held_back(self, record: RunRecord, before: RunRecord) -> None:
        """Check that the broken tree was not promoted and show why, with the evidence."""
        if record.promoted:
            raise Failed(f"{record.promoted} was promoted though it does not boot", where="demo")
        run = self.house.workdir.run(record.version)
        held: dict[str, str] = json.loads(run.file("promote").read_text())["held"]
        for reason in dict.fromkeys(held.values()):
            trees = ", ".join(tree for tree, one in held.items() if one == reason)
            self.told.fact(f"held back: {trees}", "yellow")
            self.told.quote([reason], "yellow")
        places = sorted(run.path.glob("test/*/*"))
        self.told.quote(["", *(f"evidence in {_near(place)}/" for place in places)])
        self.told.quote([f"  {', '.join(_names(places[0]))}"])
        journal = (places[0] / "journal.txt").read_text(errors="replace").splitlines()
        telling = [line for line in journal if self.story.breakage.component in line]
        self.told.quote([f"  journal: {line.strip()}" for line in telling[:_QUOTED]], "dim")
        self.told.quote([""])
        self.told.fact(f"buildmaster stays at what run {before.version} promoted", "green")


def _names(evidence: Path) -> list[str]:
    """List files, all screenshots as one."""
    names = sorted(path.name for path in evidence.iterdir() if path.is_file())
    pictures = [name for name in names if name.endswith(".png")]
    return [*(name for name in names if name not in pictures), f"{len(pictures)} screenshots"]


def _ended(record: RunRecord, ending: RunEnding) -> RunRecord:
    """Raise Failed where a run ended in another way than the story says."""
    if record.ending is not ending:
        said = f"run {record.version} {record.ending}, and should have {ending}: {record.message}"
        raise Failed(said, where="demo", hint=record.hint)
    return record


def _near(path: Path) -> str:
    """Write a path as short as it can be pasted here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def tell_story(demo: Demo, *, keep: bool, buildbot: bool) -> None:
    """Go through the whole demo; raises where something is not as it should be."""
    from pipeline.cli.serving import lines_to_paste, pull_as_a_client, serving

    told, story = demo.told, demo.story
    demo.prepare(buildbot=buildbot)
    told.title(
        f"{demo.house.manifest.osname}: an OS whose every push is built, booted and promoted"
    )
    told.fact(f"repositories and a work directory are in {_near(demo.root)}")
    with demo.up():
        told.title("1. The manifest is pushed: all of it is built, booted and promoted")
        first = demo.go_first()
        told.title(f"2. A push changes one component, {story.change.component}")
        second = demo.push(story.change, RunEnding.PASSED)
        demo.only_built(second, story.change.component)
        told.title("3. A push breaks the boot")
        third = demo.push(story.breakage, RunEnding.FAILED)
        demo.held_back(third, second)
        told.title("4. A stock OSTree client pulls what was promoted, signatures verified")
        with serving(demo.house, "127.0.0.1:0") as url:
            pull_as_a_client(demo.house, url, second.promoted, demo.root / "client")
            told.title(f"Done in {told.seconds:.0f} s")
            told.lines(tuple(_where(demo, (first, second, third), url)))
            if keep:
                told.title("Kept up until Ctrl-C; on a client:")
                told.quote(lines_to_paste(demo.house, url)[2:-3])
                _stay(demo)


def _where(demo: Demo, runs: Sequence[RunRecord], url: str) -> Iterator[tuple[str, str]]:
    """Tell what is where now, and how to have it once more."""
    first, second, third = runs
    for tree, commit in second.promoted.items():
        yield "promoted", f"{buildmaster_ref(demo.house.manifest.osname, tree)} {commit}"
    yield "runs", f"{first.version} and {second.version} passed, {third.version} was held back"
    yield "look closer", demo.command("log", third.version)
    if demo.buildbot is not None:
        yield "Buildbot", f"{demo.buildbot.url}   again: {demo.command('up')}"
    yield "repository", f"{url}/repo   again: {demo.command('serve')}"
    yield (
        "your own push",
        f"edit and git push in {_near(demo.sample.desk(demo.story.change.component))}",
    )


def _stay(demo: Demo) -> None:
    """Stay until Ctrl-C."""
    if demo.buildbot is None:
        threading.Event().wait()
    else:
        demo.buildbot.wait(lambda: None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo as a command."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        description=__doc__,
        epilog="example: make demo KEEP=1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--manifest", type=Path, default=TOP / "manifests" / "debian.yaml")
    parser.add_argument("--dir", type=Path, default=TOP / "build" / "demo", help="made anew")
    parser.add_argument(
        "--keep", action="store_true", help="keep page and repository up until Ctrl-C"
    )
    parser.add_argument("--no-buildbot", action="store_true", help="go by ostci run alone")
    options = parser.parse_args(argv)

    def go() -> int:
        told = Told(TerminalSink(sys.stdout))
        demo = Demo(options.manifest, options.dir.resolve(), told)
        tell_story(demo, keep=options.keep, buildbot=not options.no_buildbot)
        return EXIT_PASSED

    run_main(handler=go)


if __name__ == "__main__":
    main()
