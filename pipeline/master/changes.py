# SPDX-License-Identifier: LGPL-2.1-or-later
"""Watch all repositories of the manifest: one question a URL, a few at a time, nothing fetched.

A round compares where the branches are with what the ledger knows. Only what has moved goes on to
the stage ``watch``, which fetches, and records pushes and heads in one transaction: a master's
pushes and a laptop's are made by the same code. The reconciler then starts what is new. A hook
means a look at one repository at once; what it names of a burst is a push of its own
(``words/named``).
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from buildbot.changes.base import ReconfigurablePollingChangeSource
from twisted.internet import defer, threads
from twisted.python import log
from twisted.python.threadpool import ThreadPool

from pipeline.master.book import Book
from pipeline.master.kept import FILE, KeptHooks
from pipeline.master.looking import Looked, Looking, Memory, Recorded, Seen, is_news, recall
from pipeline.master.reconciler import NAME as RECONCILER
from pipeline.words.errors import Ending
from pipeline.words.hook import place_of_repository
from pipeline.words.named import Named
from pipeline.words.push import MANIFEST, Via
from pipeline.words.request import Told
from pipeline.words.watch import Asked, due_urls, failed

_AT_ONCE = 8


class ManifestWatch(ReconfigurablePollingChangeSource):
    """Look regularly, and at once where a hook says that something is new."""

    def checkConfig(self, *, book: Book) -> None:  # noqa: N802
        """Check nothing more than Buildbot does."""
        super().checkConfig(**_pace(book))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._asked: dict[str, Asked] = {}
        self._poked: set[str] = set()
        self._kept: KeptHooks | None = None
        # A round may take as long as its slowest server: hooks do not wait for it.
        self._lock = defer.DeferredLock()
        self._poking = defer.DeferredLock()
        self._seeing = defer.DeferredLock()
        self._again: dict[str, Any] = {}
        self._pool: ThreadPool | None = None
        self._hook_pool: ThreadPool | None = None
        self._problem = ""
        self._all_due = 0.0
        super().__init__(*args, **kwargs)

    @defer.inlineCallbacks
    def reconfigService(self, *, book: Book) -> Any:  # noqa: N802
        """Take up new settings."""
        self._round_s = float(book.settings.poll)
        self._looking = Looking(book.settings)
        self._book = book
        if self._kept is None:
            self._kept = KeptHooks(book.settings.home / FILE)
        yield super().reconfigService(**_pace(book))

    @defer.inlineCallbacks
    def activate(self) -> Any:
        """Begin to watch."""
        self._pool, self._hook_pool = (ThreadPool(0, _AT_ONCE, name="watch") for _ in range(2))
        self._pool.start()
        self._hook_pool.start()
        assert self._kept is not None
        self._poke((yield self._kept.load()))
        yield super().activate()
        # Chance delays rounds, not the first: pushes may have come while the master was away.
        self.doPoll()

    @defer.inlineCallbacks
    def deactivate(self) -> Any:
        """Stop watching, when what goes on is over."""
        yield super().deactivate()
        for call in self._again.values():
            call.cancel()
        self._again.clear()
        for lock in (self._lock, self._poking):
            yield lock.run(defer.succeed, None)
        pools, self._pool, self._hook_pool = (self._pool, self._hook_pool), None, None
        for pool in pools:
            if pool is not None:
                yield threads.deferToThread(pool.stop)

    @defer.inlineCallbacks
    def poll(self) -> Any:
        """Look at everything."""
        if self._is_over():
            return
        seen: Seen = yield self._see()
        # Once in a while, and with a new manifest, the command looks that sees base and manifest.
        # It may take long, and hooks are followed meanwhile.
        if seen.changed or time.monotonic() >= self._all_due:
            self._all_due = time.monotonic() + self._book.settings.base_poll
            yield self._record_all(seen)
        yield self._lock.run(self._look, None)

    @defer.inlineCallbacks
    def _record_all(self, seen: Seen) -> Any:
        try:
            wrong = yield threads.deferToThread(self._looking.record_all)
        except Ending as error:
            log.msg(f"ostci watch --once: {error}")
            return
        yield self._seeing.run(self._looking.recorded, seen)
        if wrong:
            log.msg(f"ostci watch --once: {wrong}")

    def _is_over(self) -> bool:
        return self._pool is None or bool(self.master.botmaster.shuttingDown)

    @defer.inlineCallbacks
    def _see(self) -> Any:
        seen: Seen = yield self._seeing.run(threads.deferToThread, self._looking.see)
        if seen.problem != self._problem:
            self._problem = seen.problem
            log.msg(seen.problem or "the manifest is good again")
            if seen.problem:
                yield self._show(seen.problem)
        return seen

    def _show(self, problem: str, *, project: str = MANIFEST, repository: str = "") -> Any:
        """Put it among the changes on the page; there is no build that could say it."""
        return self.master.data.updates.addChange(
            author="ostci watch",
            comments=problem,
            repository=repository or str(self._book.settings.manifest),
            project=project,
            category="refused",
            files=[],
        )

    @defer.inlineCallbacks
    def hear(self, urls: Iterable[str], *, named: Named | None, told: Told | None) -> Any:
        """Keep what a hook says and look soon at the repositories that these addresses are of.

        Of others, which are not ours, nothing is kept, nor of branches that nobody follows. Ends
        when the push that was ``named``, and what was ``told`` of a merge request, are on the disk.
        """
        assert self._kept is not None
        wanted = {place_of_repository(url) for url in urls}
        seen: Seen = yield self._see()
        branches: dict[str, set[str]] = defaultdict(set)
        for url, names in seen.branches.items():
            branches[place_of_repository(url)] |= names
        asked = {place_of_repository(url) for url in seen.requests}
        places = wanted & branches.keys()
        for place in sorted(places):
            ours = named if named is not None and named.branch in branches[place] else None
            asked_told = told if place in asked else None
            # One that names nothing says to look; nothing else is waited for of who sends it.
            if named is not None or asked_told is not None:
                self._kept.note(place, named=ours, told=asked_told)
        try:
            yield self._kept.write()
        finally:
            self._poke(places)

    def _poke(self, places: set[str]) -> None:
        if self._pool is None:
            return  # the first round looks at everything
        idle = not self._poked
        self._poked |= places
        if idle and places:
            looking: Any = self._poking.run(self._look_at_poked)
            looking.addErrback(log.err, "after a hook")

    def _look_at_poked(self) -> Any:
        # Whatever is said from here on is news again.
        places, self._poked = self._poked, set()
        return self._look(places)

    @defer.inlineCallbacks
    def _look(self, places: set[str] | None) -> Any:
        if self._is_over():
            return
        # What is named from here on is of the next look: pushes are in the order of their hooks.
        assert self._kept is not None
        until = self._kept.hooks.count
        seen: Seen = yield self._see()
        urls = sorted(seen.branches)
        if places is None:
            self._kept.hooks.keep([place_of_repository(url) for url in urls])
            urls = list(due_urls(urls, self._asked, time.monotonic()))
            self._asked = {url: one for url, one in self._asked.items() if url in seen.branches}
        else:
            urls = [url for url in urls if place_of_repository(url) in places]
        is_told = yield self._note_told(seen)
        pool = self._pool if places is None else self._hook_pool
        looked = yield self._ask(pool, urls, seen)
        memory: Memory = yield self._book.ask(recall)
        moved = frozenset(url for url, one in looked.items() if is_news(url, one, seen, memory))
        if moved:
            yield self._record(moved, Via.POLL if places is None else Via.HOOK, until)
        if moved or is_told or places is None:
            reconciler = self.master.service_manager.namedServices.get(RECONCILER)
            if reconciler is not None:
                # How long that takes keeps no hook waiting.
                reconciler.look()
            yield self._kept.forget()

    @defer.inlineCallbacks
    def _record(self, moved: frozenset[str], via: Via, until: int) -> Any:
        assert self._kept is not None
        hooks, now = self._kept.hooks, time.monotonic()
        places = {url: place_of_repository(url) for url in sorted(moved)}
        awaited = {url for url, place in places.items() if hooks.is_awaited(place, now)}
        named = {url: hooks.named(place, until) for url, place in places.items()}
        record = partial(
            self._looking.record, urls=moved, via=via, named=named, awaited=frozenset(awaited)
        )
        found: Recorded = yield self._book.ask(record)
        for url, error in found.problems.items():
            log.msg(f"{url}: {error}")
        for push in found.refused:
            yield self._show(push.message, project=push.component, repository=push.url)
        for url, place in places.items():
            if url in found.problems:
                continue
            done = [push.after for push in found.pushes if push.url == url]
            held = {head.branch: at for head, at in found.held.items() if head.url == url}
            wait_s = hooks.looked(place, done, held, time.monotonic())
            if wait_s:
                self._look_later(place, wait_s)

    def _look_later(self, place: str, wait_s: float) -> None:
        """Look again when no hook is waited for any more, unless one comes and all is there."""
        from twisted.internet import reactor

        if place in self._again or self._pool is None:
            return

        def look() -> None:
            del self._again[place]
            self._poke({place})

        later: Any = reactor
        self._again[place] = later.callLater(wait_s, look)

    @defer.inlineCallbacks
    def _note_told(self, seen: Seen) -> Any:
        """Note what hooks told of merge requests; tells whether there was anything."""
        assert self._kept is not None
        told = self._kept.take_told()
        notes = [
            (url, one)
            for url in (seen.requests if told else ())
            for (place, _), one in told.items()
            if place_of_repository(url) == place
        ]
        try:
            said = yield self._book.ask(partial(self._looking.note_told, notes=notes))
        except BaseException:
            self._kept.give_back(told)
            raise
        for line in said:
            log.msg(line)
        self._kept.passed(told)
        return bool(told)

    @defer.inlineCallbacks
    def _ask(self, pool: ThreadPool | None, urls: Iterable[str], seen: Seen) -> Any:
        from twisted.internet import reactor

        assert pool is not None
        asked = {
            url: threads.deferToThreadPool(
                reactor, pool, self._looking.ask, url, seen.branches[url], url in seen.requests
            )
            for url in urls
        }
        looked: dict[str, Looked] = {}
        for url, answer in asked.items():
            looked[url] = yield answer
            self._note(url, looked[url].error)
        return looked

    def _note(self, url: str, error: str) -> None:
        before = self._asked.get(url, Asked())
        if not error:
            if before.failures:
                log.msg(f"{url} answers again")
            self._asked[url] = Asked()
            return
        chance = random.random()
        now = time.monotonic()
        after = failed(before, now, round_s=self._round_s, chance=chance)
        self._asked[url] = after
        pause_s = after.due - now
        log.msg(f"{url} does not answer ({after.failures}), next in {pause_s:.0f} s: {error}")

    def describe(self) -> str:
        """Say in a line what this is, and what is wrong."""
        return self._problem or "the repositories of the manifest"


def _pace(book: Book) -> dict[str, Any]:
    seconds = book.settings.poll
    return {
        "pollInterval": seconds,
        "pollAtLaunch": False,
        "pollRandomDelayMax": seconds // 10,
    }
