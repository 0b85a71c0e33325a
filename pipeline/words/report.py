# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is told of a push, to whom it is news, and in which words.

People are told when a component, or the whole line of trees, goes from passed to failed or back.
A forge shows a state beside every commit, so it is told of each push that begins or ends. Trouble
of our machines is no state of anybody's code, nor is a failure that was there before: forges see
it, people are not written to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.words.attempts import ELSEWHERE
from pipeline.words.push import Push, PushState, Via
from pipeline.words.run import RunEnding

_LONGEST_LINE = 300


class Said(StrEnum):
    """What is told of a push."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"
    ELSEWHERE = "failed elsewhere"
    TROUBLE = "trouble"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


_SETTLED = (Said.PASSED, Said.FAILED)
_OF_ENDING: Mapping[str, Said] = {
    RunEnding.PASSED: Said.PASSED,
    RunEnding.UNCHANGED: Said.PASSED,
    RunEnding.FAILED: Said.FAILED,
    RunEnding.BAD_INPUT: Said.FAILED,
    RunEnding.INTERRUPTED: Said.CANCELLED,
    ELSEWHERE: Said.ELSEWHERE,
}


@dataclass(frozen=True, kw_only=True)
class Due:
    """A push of which something is to be told.

    ``component_was`` and ``line_was`` are what was known before, empty for nothing; ``is_news``:
    people want to know.
    """

    push: Push
    said: Said
    component_was: str = ""
    line_was: str = ""
    is_news: bool = False


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is told: what became of a push, where it can be seen, and how it is repeated."""

    due: Due
    osname: str
    page: str
    repeat: str

    @property
    def title(self) -> str:
        """Say it in one line."""
        push, said = self.due.push, self.due.said
        was = self.due.component_was
        change = f" (was {was})" if self.due.is_news and was and was != said else ""
        head = f"[{self.osname}] {push.component} {push.after[:12]}: {said}{change}"
        return one_line(f"{head}: {push.message}" if push.message else head)

    @property
    def text(self) -> str:
        """Say it in a few lines, for a mail."""
        push = self.due.push
        line = {
            "": "",
            Said.PASSED: f"The trees before it {Said.PASSED}.",
            Said.FAILED: f"The trees before it {Said.FAILED}, too.",
        }[self.due.line_was if self.due.said is Said.FAILED else ""]
        facts = {
            "push": f"{push.id}, {push.via}, {push.branch} of {push.url}",
            "component": push.component,
            "commit": push.after,
            "before": push.before,
            "run": push.run or "none",
            "page": self.page,
            "repeat": self.repeat,
        }
        rows = [f"{name:<10}{one_line(value)}" for name, value in facts.items()]
        return "\n".join([self.title, *([line] if line else []), "", *rows, ""])


def one_line(text: str) -> str:
    """Make a bounded line without control characters of what others wrote."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= _LONGEST_LINE else plain[: _LONGEST_LINE - 1] + "…"


def said_of(push: Push, ending: str) -> Said | None:
    """Tell what is told of a push whose run ended so; None where nothing has happened yet."""
    if push.state is PushState.WAITING:
        return None
    if push.state is PushState.RUNNING:
        return Said.PENDING
    if push.state is PushState.SUPERSEDED:
        return Said.SUPERSEDED
    if push.state is PushState.REFUSED:
        return Said.FAILED
    if push.state is PushState.CANCELLED:
        return Said.CANCELLED
    if push.run is None:
        return Said.TROUBLE if push.state is PushState.TROUBLE else Said.CANCELLED
    return _OF_ENDING.get(ending, Said.TROUBLE)


def due(
    pushes: Iterable[Push], endings: Mapping[str, str], told: Mapping[int, str]
) -> tuple[Due, ...]:
    """Tell what is to be told of pushes, in push order; ``told`` is what was told already.

    Of an older push that ends after a newer one of its component, people are told nothing: the
    state has moved on. A try says nothing of what is pushed, and is told to whoever tries; that of
    a merge request is told to its forge, and to nobody else.
    """
    pushes = tuple(pushes)
    ordered = sorted((one for one in pushes if not one.is_try), key=lambda one: one.id)
    said = {push.id: said_of(push, endings.get(push.run or "", "")) for push in ordered}
    found = []
    for place, push in enumerate(ordered):
        now = said[push.id]
        if now is None or told.get(push.id) == now:
            continue
        mine = [one for one in ordered if one.component == push.component]
        before = ordered[:place]
        component_was = _newest(said, [one for one in mine if one.id < push.id])
        line_was = _newest(said, before)
        over = _newest(said, [one for one in mine if one.id > push.id]) != ""
        news = now in _SETTLED and not over
        is_changed = _is_change(component_was, now) or _is_change(line_was, now)
        found.append(
            Due(
                push=push,
                said=now,
                component_was=component_was,
                line_was=line_was,
                is_news=news and is_changed,
            )
        )
    for push in pushes:
        now = said_of(push, endings.get(push.run or "", ""))
        if push.via is Via.REQUEST and now is not None and told.get(push.id) != now:
            found.append(Due(push=push, said=now))
    return tuple(sorted(found, key=lambda one: one.push.id))


def _newest(said: Mapping[int, Said | None], pushes: Iterable[Push]) -> str:
    settled = [str(said[one.id]) for one in pushes if said[one.id] in _SETTLED]
    return settled[-1] if settled else ""


def _is_change(was: str, now: Said) -> bool:
    """Tell whether this is news; that the first of all passed is none."""
    return was != now if was else now is Said.FAILED
