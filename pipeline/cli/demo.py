# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make demo``: the main job on an embedded default, as a person would do it by hand.

A sample OS is built, booted and promoted; then a push that changes one component goes the same
way; then a push that breaks the boot is held back; at last a stock OSTree client pulls what was
promoted, over HTTP and with its signatures verified. Every command that is given is printed.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.house import House, init
from pipeline.cli.main import main as run_main
from pipeline.cli.record import records
from pipeline.cli.sample import STORY, Sample
from pipeline.cli.terminal import TerminalSink
from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.ports.userns import remove_tree
from pipeline.words.errors import EXIT_PASSED, Failed
from pipeline.words.run import RunRecord

TOP = Path(__file__).resolve().parents[2]
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Push:
    """One edit of a sample's own component, as its ``demo.json`` describes it."""

    component: str
    file: str
    old: str
    new: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a sample's demo does: a harmless push, then one that breaks the boot."""

    change: Push
    breakage: Push


def read_story(manifest: Path) -> Story:
    """Read the sample's ``demo.json``."""
    found = json.loads((manifest.with_suffix("") / STORY).read_text())
    return Story(change=Push(**found["change"]), breakage=Push(**found["breakage"]))


class Demo:
    """The demo on one sample, in a directory of its own."""

    def __init__(self, manifest: Path, root: Path, *, out: TerminalSink) -> None:
        self.manifest = manifest
        self.root = root
        self.work = root / "work"
        self.out = out
        self.log = Log(out)
        self.sample = Sample(root / "sample", log=self.log)
        self.story = read_story(manifest)

    def prepare(self) -> None:
        """Make repositories of the sample's components and a work directory."""
        self._say(f"A fresh start in {self.root}")
        remove_tree(self.root)
        self.sample.make(self.manifest)
        init(self.work, self.sample.manifest)

    def go_round(self, title: str, *, wanted: int) -> RunRecord:
        """Give ``ostci run``; raises Failed where it ends in another way than the story says."""
        self._say(title)
        code = self._ostci("run")
        if code != wanted:
            raise Failed(f"ostci run ended with {code}, not {wanted}", where="demo")
        return self._last()

    def push(self, push: Push) -> str:
        """Commit an edit as a developer would."""
        self.sample.edit(push.component, push.file, push.old, push.new)
        revision = self.sample.push(push.component, push.subject)
        print(f"git push: {push.component} {revision[:12]} {push.subject}")
        return revision

    def _last(self) -> RunRecord:
        house = House(self.work, log=self.log)
        return next(iter(records(house.workdir)))[1]

    def _say(self, title: str) -> None:
        print(f"\n=== {title}\n", flush=True)

    def _ostci(self, *argv: str) -> int:
        words = [sys.executable, "-m", "pipeline.cli.main", "-C", str(self.work), *argv]
        print(f"$ {shlex.join(['ostci', *words[3:]])}", flush=True)
        # The terminal itself is handed on, so that progress looks as it does by hand.
        with process.start(words, log=self.log, stdout=None, stderr=None, grace_s=15) as child:
            code = child.wait(_HOUR_S)
        return -1 if code is None else code

    def only_built(self, record: RunRecord, component: str) -> None:
        """Check that a run built this component and no other."""
        built = self._read(record, "build")["built"]
        if built != [component]:
            raise Failed(f"{built} were built, not only {component}", where="demo")
        print(f"Only {component} was built; everything else was kept.")

    def held_back(self, record: RunRecord, before: RunRecord) -> None:
        """Check that the broken tree was not promoted and show why, with the evidence."""
        if record.promoted:
            raise Failed(f"{record.promoted} was promoted though it does not boot", where="demo")
        print(f"Held back: {record.message}")
        print(f"buildmaster still is what run {before.version} promoted:")
        for tree, commit in before.promoted.items():
            print(f"  {tree} {commit}")
        run = House(self.work, log=self.log).workdir.run(record.version)
        print("The evidence:")
        for path in sorted(run.path.glob("test/*/*/*")):
            if path.is_file():
                print(f"  {path}")

    def _read(self, record: RunRecord, name: str) -> dict[str, list[str]]:
        run = House(self.work, log=self.log).workdir.run(record.version)
        found: dict[str, list[str]] = json.loads(run.file(name).read_text())
        return found


def tell_story(demo: Demo, *, keep: bool) -> None:
    """Go through the whole demo; raises where something is not as it should be."""
    from pipeline.cli.serving import pull_as_a_client, serve_until_stopped, serving

    started = time.monotonic()
    demo.prepare()
    first = demo.go_round("1. Everything is built, booted and promoted", wanted=EXIT_PASSED)
    demo._say("2. A push changes one component")
    demo.push(demo.story.change)
    second = demo.go_round("   … and goes round", wanted=EXIT_PASSED)
    demo.only_built(second, demo.story.change.component)
    demo._say("3. A push breaks the boot")
    demo.push(demo.story.breakage)
    third = demo.go_round("   … and is held back", wanted=Failed.exit_code)
    demo.held_back(third, second)
    demo._say("4. A stock OSTree client pulls what was promoted, signatures verified")
    house = House(demo.work, log=demo.log)
    with serving(house, "127.0.0.1:0") as url:
        pull_as_a_client(house, url, second.promoted, demo.root / "client")
    demo._say(f"Done in {time.monotonic() - started:.0f} s. Where everything is")
    print(f"work directory   {demo.work}")
    print(f"pushes go to     {demo.sample.root / 'git'}")
    print(f"first, second    {first.version}, {second.version} (promoted); {third.version} held")
    print(f"look around      ostci -C {demo.work} log; ostci -C {demo.work} show refs")
    print(f"serve it         ostci -C {demo.work} serve")
    if keep:
        serve_until_stopped(house)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo as a command."""
    parser = argparse.ArgumentParser(
        prog="make demo", description=__doc__, epilog="example: make demo KEEP=1"
    )
    parser.add_argument("--manifest", type=Path, default=TOP / "manifests" / "debian.yaml")
    parser.add_argument("--dir", type=Path, default=TOP / "build" / "demo", help="made anew")
    parser.add_argument("--keep", action="store_true", help="go on serving until Ctrl-C")
    options = parser.parse_args(argv)

    def go() -> int:
        sink = TerminalSink(sys.stdout)
        tell_story(Demo(options.manifest, options.dir.resolve(), out=sink), keep=options.keep)
        return EXIT_PASSED

    run_main(handler=go)


if __name__ == "__main__":
    main()
