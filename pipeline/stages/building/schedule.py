# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which component is decided on, built, kept or blocked, and when.

A component is decided on as soon as all of its buildroot is settled: what was rebuilt but looks
the same from outside then rebuilds nobody. What can be built side by side is.

What failed blocks what needs it. A component that names what it needs (``depends``) needs just
that. One that does not has everything before it in its buildroot: it needs what its last build
used, and goes on with the last good artifact of the rest.
"""

import contextvars
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import Held, lock
from pipeline.ports.log import Log
from pipeline.stages.building.one import FailedBuild, Order
from pipeline.stages.building.request import BuildRequest, BuiltComponent, Outcome
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Ending, Interrupted, Trouble
from pipeline.words.plan import Decision, Kind, Past, Planner
from pipeline.words.refs import Key

LOCK_PREFIX = "build-"
_SHOWN = 12
_LOOK_S = 0.5


class Schedule:
    """One passage over all components; ``build`` makes one, ``new_commits`` tells since when."""

    def __init__(
        self,
        request: BuildRequest,
        planner: Planner,
        *,
        past: Past,
        build: Callable[[Order], Artifact],
        new_commits: Callable[[str, Artifact | None], tuple[str, ...]],
        locks: Path,
        log: Log,
    ) -> None:
        self._request = request
        self._planner = planner
        self._past = past
        self._build = build
        self._new_commits = new_commits
        self._locks = locks
        self._log = log
        self._components = {one.name: one for one in request.snapshot.manifest.components}
        self._waiting = self._wanted()
        self._elsewhere: set[str] = set()
        """What another process builds at the moment, as far as that was told."""
        self._running: dict[Future[Artifact], _Running] = {}
        self._found: dict[str, BuiltComponent] = {}
        self._known: dict[str, Artifact] = {}
        """What buildroots are made of: settled, or the last good one of what failed."""
        self._trouble = ""

    def go(self) -> tuple[BuiltComponent, ...]:
        """Settle every component; raises Interrupted when stopped, with nothing left running."""
        with ExitStack() as stack:
            # After the pool: what builds is locked until no thread is left.
            stack.callback(self._release)
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=max(1, self._request.jobs)))
            try:
                while self._waiting or self._running:
                    self._begin(pool)
                    self._collect()
            except KeyboardInterrupt as error:
                process.stop_all()
                raise Interrupted("stopped during the build") from error
            except BaseException:
                for future in self._running:
                    future.cancel()
                raise
        return tuple(self._found[name] for name in self._planner.names if name in self._found)

    def _release(self) -> None:
        for running in self._running.values():
            running.held.close()

    def _wanted(self) -> list[str]:
        """List what is to be settled, in order: what was asked for and all that needs."""
        only = self._request.only
        if only is None:
            return list(self._planner.order)
        wanted = set(only).intersection(self._planner.names)
        needed = {one for name in wanted for one in self._planner.closure(name)}
        return [name for name in self._planner.order if name in wanted | needed]

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Decide on all that can be decided on, as far as there is room to build."""
        again = True
        while again:
            again = False
            for name in tuple(self._waiting):
                if not all(one in self._found for one in self._planner.closure(name)):
                    continue
                if len(self._running) >= self._request.jobs and not self._trouble:
                    return
                again = self._decide(name, pool) or again

    def _decide(self, name: str, pool: ThreadPoolExecutor) -> bool:
        """Decide on one; tells whether it is settled at once.

        It goes on waiting while another process builds it: then that one's artifact is kept.
        """
        earlier = self._request.earlier.get(name)
        if earlier is not None and earlier.outcome is Outcome.FAILED and not self._is_forced(name):
            self._waiting.remove(name)
            self._take_failed(earlier)
            return True
        why = self._why_not(name)
        if why:
            outcome = Outcome.BLOCKED if name in self._request.snapshot.pins else Outcome.FAILED
            self._waiting.remove(name)
            self._lose(name, outcome, why)
            return True
        decision = self._planner.decide(name)
        with ExitStack() as held:
            if decision.kind is Kind.REBUILD and decision.recipe is not None:
                if not self._lock(name, decision.recipe, held):
                    return False
                # Whoever had the lock may have built it meanwhile.
                decision = self._planner.decide(name)
            self._waiting.remove(name)
            if self._settle_without_building(name, decision):
                return True
            self._start(name, decision, pool, held.pop_all())
        return False

    def _is_forced(self, name: str) -> bool:
        return name in self._request.force

    def _lock(self, name: str, recipe: Key, held: ExitStack) -> bool:
        """Be the one, of all processes, that builds a recipe; tells whether that is so."""
        path = self._locks / f"{LOCK_PREFIX}{recipe[:32]}.lock"
        try:
            held.enter_context(lock(path, what=f"build of {name} in run {self._request.run}"))
        except Held as error:
            if name not in self._elsewhere:
                self._log.fact(f"waits: {error.what.partition(' is ')[2]}", about=name)
                self._elsewhere.add(name)
            return False
        return True

    def _settle_without_building(self, name: str, decision: Decision) -> bool:
        """Settle a component that is not to be built; tells whether that is so."""
        earlier = self._request.earlier.get(name)
        if decision.kind is Kind.KEEP and decision.artifact is not None:
            self._keep(name, decision, decision.artifact)
        elif decision.kind is not Kind.REBUILD or decision.recipe is None:
            self._lose(name, Outcome.BLOCKED, "; ".join(decision.reasons))
        elif earlier is not None and (found := self._built_in_this_run(earlier, decision)):
            self._keep(name, decision, found)
        else:
            return False
        was_built = earlier is not None and earlier.outcome is Outcome.BUILT
        if earlier is not None and was_built and self._found[name].key == earlier.key:
            self._found[name] = earlier
        return True

    def _built_in_this_run(self, earlier: BuiltComponent, decision: Decision) -> Artifact | None:
        """Find what the run has built of a working copy, which each run builds anew, once."""
        name = earlier.component
        is_local = self._request.snapshot.pins[name].local
        if earlier.outcome is not Outcome.BUILT or not is_local or self._is_forced(name):
            return None
        assert decision.recipe is not None
        found = self._past.find(decision.recipe)
        return next((one for one in found if one.key == earlier.key), None)

    def _take_failed(self, earlier: BuiltComponent) -> None:
        """Leave a failure at what it was; its last good artifact may serve others."""
        self._log.warning(f"failed before in this run: {earlier.message}", about=earlier.component)
        self._fall_back(earlier.component)
        self._found[earlier.component] = earlier

    def _why_not(self, name: str) -> str:
        """Say why a component cannot be built; empty where it can."""
        if name not in self._request.snapshot.pins:
            return "its source could not be resolved"
        if self._trouble:
            return f"not begun: {self._trouble}"
        lost = [one for one in self._planner.closure(name) if not self._is_there(one)]
        if not lost:
            return ""
        component = self._components[name]
        latest = self._past.latest(name, self._planner.arch_of(name))
        for one in lost:
            named = component.depends is not None
            if named or latest is None or one in latest.used or one not in self._known:
                return f"it needs {one}, which {self._word(one)}"
        return ""

    def _is_there(self, name: str) -> bool:
        return self._found[name].outcome in (Outcome.KEPT, Outcome.BUILT)

    def _word(self, name: str) -> str:
        return "failed" if self._found[name].outcome is Outcome.FAILED else "was not built"

    def _start(
        self, name: str, decision: Decision, pool: ThreadPoolExecutor, held: ExitStack
    ) -> None:
        self._log.fact(f"rebuild: {'; '.join(decision.reasons)}", about=name)
        latest = self._past.latest(name, decision.arch)
        order = Order(
            component=self._components[name],
            decision=decision,
            artifacts={
                one: self._known[one] for one in self._planner.closure(name) if one in self._known
            },
            jobs=self._request.jobs,
        )
        context = contextvars.copy_context()
        expected = latest.build_s if latest is not None and latest.build_s else None
        future = pool.submit(context.run, self._make, order, expected)
        self._running[future] = _Running(
            order=order, latest=latest, started=time.monotonic(), decision=decision, held=held
        )

    def _make(self, order: Order, expected_s: float | None) -> Artifact:
        with self._log.step("build", about=order.component.name, expected_s=expected_s):
            return self._build(order)

    def _collect(self) -> None:
        if not self._running:
            if self._waiting:
                time.sleep(_LOOK_S)  # for what another process builds
            return
        done, _ = wait(self._running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        if process.is_stopping():
            raise Interrupted("stopped during the build")
        for future in done:
            running = self._running.pop(future)
            running.held.close()
            try:
                artifact = future.result()
            except Interrupted:
                raise
            except Trouble as error:
                self._trouble = error.what
                self._log.error(str(error), about=running.name)
                self._lose(running.name, Outcome.FAILED, error.what, running, trouble=True)
            except Ending as error:
                self._fail(running, error)
            else:
                self._settle_built(running, artifact)

    def _settle_built(self, running: "_Running", artifact: Artifact) -> None:
        name = running.name
        self._planner.settle(name, artifact)
        self._known[name] = artifact
        same = running.latest is not None and running.latest.interface == artifact.interface
        looks = ", looks the same from outside" if same else ""
        counted = f"{artifact.warnings} warnings, {artifact.deprecations} deprecations"
        self._log.fact(f"built in {running.seconds:.1f} s, {counted}{looks}", about=name)
        self._found[name] = BuiltComponent(
            component=name,
            arch=artifact.arch,
            outcome=Outcome.BUILT,
            seconds=running.seconds,
            key=artifact.key,
            commits=artifact.commits,
            warnings=artifact.warnings,
            deprecations=artifact.deprecations,
            reasons=running.decision.reasons,
            new_commits=self._new_commits(name, running.latest),
        )

    def _keep(self, name: str, decision: Decision, artifact: Artifact) -> None:
        self._planner.settle(name, artifact)
        self._known[name] = artifact
        self._log.detail(f"keep: {'; '.join(decision.reasons)}", about=name)
        self._found[name] = BuiltComponent(
            component=name,
            arch=artifact.arch,
            outcome=Outcome.KEPT,
            key=artifact.key,
            commits=artifact.commits,
            warnings=artifact.warnings,
            deprecations=artifact.deprecations,
            reasons=decision.reasons,
        )

    def _fail(self, running: "_Running", error: Ending) -> None:
        last, ref = (error.last, error.ref) if isinstance(error, FailedBuild) else ((), None)
        commits = self._new_commits(running.name, running.latest)
        shown = [*last[-_SHOWN:], *(f"since its last artifact: {one}" for one in commits)]
        self._log.error("\n".join([error.what, *shown]), about=running.name)
        path = self._request.into / running.name / "log.txt"
        self._log.error(f"the whole log: {path}", about=running.name)
        self._lose(
            running.name,
            Outcome.FAILED,
            error.what,
            running,
            new_commits=commits,
            failed_ref=ref or "",
        )

    def _lose(
        self,
        name: str,
        outcome: Outcome,
        message: str,
        running: "_Running | None" = None,
        *,
        trouble: bool = False,
        new_commits: tuple[str, ...] = (),
        failed_ref: str = "",
    ) -> None:
        """Note that a component is not there; its last good artifact may serve others."""
        if running is None:
            self._log.warning(f"{outcome}: {message}", about=name)
        self._fall_back(name)
        self._found[name] = BuiltComponent(
            component=name,
            arch=self._planner.arch_of(name),
            outcome=outcome,
            seconds=running.seconds if running else 0.0,
            reasons=running.decision.reasons if running else (),
            message=message,
            trouble=trouble,
            new_commits=new_commits,
            failed_ref=failed_ref,
        )

    def _fall_back(self, name: str) -> None:
        latest = self._past.latest(name, self._planner.arch_of(name))
        if latest is not None:
            self._planner.assume(name, latest)
            self._known[name] = latest


@dataclass(frozen=True, kw_only=True)
class _Running:
    """``held`` keeps other processes from building the same."""

    held: ExitStack
    order: Order
    decision: Decision
    latest: Artifact | None
    started: float

    @property
    def name(self) -> str:
        return self.order.component.name

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)
