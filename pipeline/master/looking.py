# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the watch does in threads: read the manifest, ask servers, have pushes recorded."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.ports import process
from pipeline.ports.git import Mirrors
from pipeline.ports.git_commands import Git
from pipeline.ports.git_heads import There, read_heads
from pipeline.ports.ledger import Ledger
from pipeline.ports.line import line_snapshot, newest_of_line
from pipeline.ports.log import Log
from pipeline.ports.master_home import environment
from pipeline.ports.master_settings import MasterSettings
from pipeline.stages import watch
from pipeline.words.errors import BadInput, Ending, Trouble
from pipeline.words.manifest import DEBIAN_SUITE, Manifest
from pipeline.words.manifest_text import read_manifest
from pipeline.words.named import Named
from pipeline.words.push import Head, Push, PushState, Via, heads_of
from pipeline.words.request import Follower, Known, Told, find, followers_of, takes_all, words_of
from pipeline.words.watch import is_news as heads_are_news

_RECORD_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the manifest is at the moment: URL → branches and tags that are followed.

    ``requests``: URL → components that merge requests are tried with. ``changed``: its file is
    another than when it was last recorded. ``problem``: that is not good, and the last good one is
    in force.
    """

    branches: Mapping[str, frozenset[str]] = field(default_factory=dict)
    requests: Mapping[str, tuple[Follower, ...]] = field(default_factory=dict)
    changed: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a server said, or why it said nothing."""

    there: There = field(default_factory=There)
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is wrong with servers, by URL, and pushes of which nothing can be made.

    ``held``: see ``watch.WatchResult``.
    """

    problems: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[Push, ...] = ()
    pushes: tuple[Push, ...] = ()
    held: Mapping[Head, str] = field(default_factory=dict)


class Looking:
    """Looks at one manifest and its repositories; ``ask`` may be called from several threads."""

    def __init__(self, settings: MasterSettings) -> None:
        self._settings = settings
        self._log = Log()
        self._git = Git(settings.workdir.mirrors, log=self._log)
        self._stamp: tuple[int, int, int] | None = None
        self._seen = Seen()
        self._manifest: Manifest | None = None

    @property
    def manifest(self) -> Manifest | None:
        """The manifest in force, as it was last seen; None where there never was a good one."""
        return self._manifest

    def see(self) -> Seen:
        """Read the manifest again where its file has changed; a broken one is only told."""
        path = self._settings.manifest
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return self._seen
            reading = read_manifest(path.read_text(), str(path), relative_to=str(path.parent))
        except (OSError, Ending) as error:
            self._stamp = None  # as it was before is news then, too
            return self._broken(str(error))
        self._stamp = stamp
        if reading.manifest is None:
            return self._broken("; ".join(map(str, reading.problems)))
        self._manifest = reading.manifest
        self._seen = replace(_seen(reading.manifest), changed=True)
        return self._seen

    def _broken(self, why: str) -> Seen:
        if self._manifest is None:
            self._manifest = self._newest()
            if self._manifest is not None:
                self._seen = _seen(self._manifest)
        force = "nothing is watched" if self._manifest is None else "the last good one is in force"
        problem = f"the manifest is broken, {force}: {why}"
        changed = self._seen.changed or problem != self._seen.problem
        self._seen = replace(self._seen, problem=problem, changed=changed)
        return self._seen

    def _newest(self) -> Manifest | None:
        """Read the manifest of the newest run, as it was when a master was here before."""
        try:
            run = newest_of_line(self._settings.workdir)
            return None if run is None else line_snapshot(run).manifest
        except (OSError, Ending):
            return None  # damaged, or removed meanwhile: the manifest's own problem is told

    def ask(self, url: str, branches: Iterable[str], requests: bool) -> Looked:
        """Ask a server where its heads are; what goes wrong is told, not raised."""
        try:
            return Looked(there=read_heads(url, branches, git=self._git, requests=requests))
        except Ending as error:
            return Looked(error=str(error))

    def record(
        self,
        ledger: Ledger,
        urls: frozenset[str],
        via: Via,
        named: Mapping[str, Sequence[Named]],
        awaited: frozenset[str],
    ) -> Recorded:
        """Fetch what moved there and record the pushes; see ``watch.WatchRequest``."""
        manifest = self._manifest
        if manifest is None:
            return Recorded()
        suite = manifest.base.suite or DEBIAN_SUITE
        mirrors = Mirrors(self._settings.workdir.mirrors, log=self._log, suite=suite)
        request = watch.WatchRequest(
            manifest=manifest, urls=urls, via=via, named=named, awaited=awaited
        )
        found = watch.watch(request, mirrors=mirrors, ledger=ledger, log=self._log)
        watch.supersede(ledger.pushes, manifest.queue_bound, log=self._log)
        return Recorded(
            problems={url: str(error) for url, error in found.problems.items()},
            refused=tuple(push for push in found.pushes if push.state is PushState.REFUSED),
            pushes=found.pushes,
            held=found.held,
        )

    def note_told(self, ledger: Ledger, notes: Iterable[tuple[str, Told]]) -> tuple[str, ...]:
        """Record what hooks said of the merge requests of repositories; tells what came of it.

        Of one whose author is no member nothing is kept where only members' are tried.
        """
        said = []
        for url, told in notes:
            followers = self._seen.requests.get(url, ())
            keep = takes_all(followers) or (bool(followers) and told.is_member)
            is_new, ended = ledger.requests.note_told(url, told, even_new=keep)
            what = f"{url}: {words_of(told.ref)}"
            if not is_new:
                said.append(f"{what}: a hook that is older than what is known changes nothing")
            elif not keep:
                said.append(f"{what} is not tried: whoever opened it is no member")
            said += [f"push {push.id} is {push.state}: {push.message}" for push in ended]
        return tuple(said)

    def record_all(self) -> str:
        """Have the manifest and the base looked at by the command that people give.

        Tells what it found wrong; raises Trouble where it recorded nothing at all.
        """
        # Branches are asked by us, who know what hooks named of them.
        words = ["watch", "--once", "--no-branches", "--json"]
        argv = ["ostci", "-C", str(self._settings.workdir.root), *words]
        env = {**environment(), "PATH": self._settings.path}
        done = process.run(argv, log=self._log, env=env, deadline_s=_RECORD_S, ok=())
        last = "; ".join(done.error_text.splitlines()[-3:])
        if not done.text.startswith("{") and done.code != BadInput.exit_code:
            hint = f"ostci -C {self._settings.workdir.root} watch --once"
            raise Trouble(f"pushes could not be recorded: {last}", hint=hint)
        return last if done.code else ""

    def recorded(self, seen: Seen) -> None:
        """Note that a manifest was recorded; another may be there meanwhile."""
        if self._seen is seen:
            self._seen = replace(seen, changed=False)


def _seen(manifest: Manifest) -> Seen:
    found: dict[str, set[str]] = defaultdict(set)
    for head in heads_of(manifest):
        found[head.url].add(head.branch)
    return Seen(
        branches={url: frozenset(branches) for url, branches in found.items()},
        requests=followers_of(manifest),
    )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the ledger knows of heads, and of merge requests by URL."""

    heads: Mapping[tuple[str, str], str]
    requests: Mapping[str, Mapping[str, Known]]
    going: Mapping[str, frozenset[str]]


def recall(ledger: Ledger) -> Memory:
    """Read it."""
    requests = ledger.requests
    return Memory(
        heads=ledger.pushes.heads(), requests=requests.every(), going=requests.every_going()
    )


def is_news(url: str, looked: Looked, seen: Seen, memory: Memory) -> bool:
    """Tell whether a server said anything of which something is to be recorded."""
    if looked.error:
        return False
    if heads_are_news(url, seen.branches[url], looked.there.heads, memory.heads):
        return True
    if url not in seen.requests:
        return False
    known, going = memory.requests.get(url, {}), memory.going.get(url, frozenset())
    followers = seen.requests[url]
    return find(followers, known, looked.there.requests, going, time.time()).is_news
