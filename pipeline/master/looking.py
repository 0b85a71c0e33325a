# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the watch does in threads: read the manifest, ask servers, have pushes recorded."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.ports import process
from pipeline.ports.git import Mirrors
from pipeline.ports.git_commands import Git
from pipeline.ports.git_heads import read_heads
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
from pipeline.words.push import Via, heads_of

_RECORD_S = 1800.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the manifest is at the moment: URL → branches that are followed.

    ``changed``: its file is another than when it was last recorded. ``problem``: that is not good,
    and the last good one is in force.
    """

    branches: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changed: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a server said: branch → revision, or why it said nothing."""

    heads: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


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
        self._seen = Seen(branches=_branches(reading.manifest), changed=True)
        return self._seen

    def _broken(self, why: str) -> Seen:
        if self._manifest is None:
            self._manifest = self._newest()
            if self._manifest is not None:
                self._seen = Seen(branches=_branches(self._manifest))
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

    def ask(self, url: str, branches: Iterable[str]) -> Looked:
        """Ask a server where its branches are; what goes wrong is told, not raised."""
        try:
            return Looked(heads=read_heads(url, branches, git=self._git))
        except Ending as error:
            return Looked(error=str(error))

    def record(
        self,
        ledger: Ledger,
        urls: frozenset[str],
        via: Via,
        named: Mapping[str, Sequence[Named]],
        awaited: frozenset[str],
    ) -> watch.WatchResult:
        """Fetch what moved there and record the pushes; see ``watch.WatchRequest``."""
        manifest = self._manifest
        if manifest is None:
            return watch.WatchResult()
        suite = manifest.base.suite or DEBIAN_SUITE
        mirrors = Mirrors(self._settings.workdir.mirrors, log=self._log, suite=suite)
        request = watch.WatchRequest(
            manifest=manifest, urls=urls, via=via, named=named, awaited=awaited
        )
        found = watch.watch(request, mirrors=mirrors, pushes=ledger.pushes, log=self._log)
        watch.supersede(ledger.pushes, manifest.queue_bound, log=self._log)
        return found

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


def _branches(manifest: Manifest) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for head in heads_of(manifest):
        found[head.url].add(head.branch)
    return {url: frozenset(branches) for url, branches in found.items()}
