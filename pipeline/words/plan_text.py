# SPDX-License-Identifier: LGPL-2.1-or-later
"""A plan for people: every component with keep or rebuild, and why."""

from collections.abc import Iterator

from pipeline.words.plan import Decision, Kind, Plan


def text(plan: Plan) -> str:
    """Write a plan for a terminal: a line for each component, further reasons below it."""
    return "\n".join(_lines(plan)) + "\n"


def summary(plan: Plan) -> str:
    """Sum a plan up in a line: ``12 components for x86_64: 10 keep, 1 rebuild, 1 waits``."""
    count = len(plan.decisions)
    kinds = ", ".join(f"{len(plan.of_kind(kind))} {kind}" for kind in Kind if plan.of_kind(kind))
    words = f"{count} component{'' if count == 1 else 's'} for {plan.arch}"
    return f"{words}: {kinds}" if kinds else words


def as_plain(plan: Plan) -> dict[str, object]:
    """Turn a plan into what JSON can hold."""
    return {
        "arch": plan.arch,
        "summary": {str(kind): len(plan.of_kind(kind)) for kind in Kind},
        "components": [_plain(decision) for decision in plan.decisions],
    }


def _lines(plan: Plan) -> Iterator[str]:
    width = max((len(decision.component) for decision in plan.decisions), default=0)
    for decision in plan.decisions:
        first, *others = decision.reasons or ("",)
        yield f"{decision.component:<{width}}  {decision.kind:<7}  {first}".rstrip()
        for other in others:
            yield f"{'':<{width}}           {other}"
    yield ""
    yield summary(plan)
    yield from _warning(plan)


def _warning(plan: Plan) -> Iterator[str]:
    """Tell what a forecast cannot know: which names a rebuilt component will bring."""
    at = next((n for n, one in enumerate(plan.decisions) if one.kind is not Kind.KEEP), None)
    if at is None or all(one.kind is Kind.REBUILD for one in plan.decisions[at:]):
        return
    yield (
        "What is kept or waits is also rebuilt if a program, library, .pc file or top-level header"
    )
    yield "comes into its buildroot or goes: a build decides anew after each component."


def _plain(decision: Decision) -> dict[str, object]:
    return {
        "component": decision.component,
        "arch": decision.arch,
        "kind": str(decision.kind),
        "decision": str(decision.kind),
        "reasons": list(decision.reasons),
        "recipe": decision.recipe,
        "key": decision.artifact.key if decision.artifact else None,
        "after": list(decision.after),
    }
