# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forced runs and tries from the page: what is asked for is written into the ledger.

The reconciler starts it from there, as everything else; no build is ever made beside the ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildbot.plugins import schedulers, util
from buildbot.process.properties import Properties
from buildbot.schedulers.forcesched import CollectedValidationError, ValidationErrorCollector
from twisted.internet import defer

from pipeline.master.book import Book
from pipeline.master.looking import Looking
from pipeline.master.reconciler import NAME as RECONCILER
from pipeline.master.scheduler import requests_of
from pipeline.ports.ledger import Ledger
from pipeline.words.errors import BadInput
from pipeline.words.findings import one_of
from pipeline.words.manifest import Manifest, SourceKind
from pipeline.words.push import NewPush, Push, Via
from pipeline.words.targets import target_of
from pipeline.words.wish import Wish, parse_pairs, replacement_of

_NAMES = r"^[A-Za-z0-9_+@./:=, -]*$"
_LONGEST = 2000


def make_asking(book: Book) -> list[Any]:
    """Make what the page offers of runs."""
    more = [
        _text("rebuild", "build in any case (names, with commas)"),
        _text("targets", "only these targets (all)"),
        _text("suites", "only these suites (the gate's)"),
    ]
    push = [
        _text("component", "component", required=True),
        _text("revision", "revision (its newest)", regex=r"^([0-9a-f]{40})?$"),
    ]
    tried = [_text("replace", "COMPONENT=BRANCH or COMPONENT=REVISION, with commas")]
    common: dict[str, Any] = {
        "builderNames": ["run"],
        "codebases": [util.CodebaseParameter("", hide=True)],
        "username": util.UserNameParameter(default="", hide=True),
    }
    return [
        Ask(
            name="force",
            label="Force a run",
            buttonName="Force a run",
            kind=Via.FORCE,
            book=book,
            properties=[*push, *more],
            **common,
        ),
        Ask(
            name="try",
            label="Try",
            buttonName="Try",
            kind=Via.TRY,
            book=book,
            properties=[*tried, *more],
            **common,
        ),
    ]


def _text(name: str, label: str, *, regex: str = _NAMES, required: bool = False) -> Any:
    return util.StringParameter(
        name=name,
        label=label,
        default="",
        size=60,
        regex=None if required else re.compile(regex),
        required=required,
        maxsize=_LONGEST,
    )


class Ask(schedulers.ForceScheduler):
    """A form of the page that writes a record instead of starting a build."""

    def __init__(self, *, kind: Via, book: Book, **kwargs: Any) -> None:
        self._kind = kind
        self._book = book
        super().__init__(**kwargs)

    @defer.inlineCallbacks
    def force(
        self,
        owner: str,
        builderNames: Any = None,  # noqa: ARG002, N803
        builderid: Any = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Any:
        """Write down what is asked for; tells the push, and requests of builds: none yet."""
        collector = ValidationErrorCollector()
        given = {key: one if isinstance(one, list) else [one] for key, one in kwargs.items()}
        reason = yield collector.collectValidationErrors(
            self.reason.fullName, self.reason.getFromKwargs, given
        )
        found = yield self.gatherPropertiesAndChanges(collector, **given)
        collector.maybeRaiseCollectedErrors()
        properties: Properties = found[0]
        words = {name: str(properties.getProperty(name, "")).strip() for name in _WORDS}
        try:
            push = yield self._book.ask(lambda ledger: self._write(ledger, words, owner, reason))
        except BadInput as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise CollectedValidationError(
                {error.where or "component": f"{error.what}{hint}"}
            ) from error
        reconciler = self.master.service_manager.namedServices.get(RECONCILER)
        if reconciler is not None:
            yield reconciler.look()
        # The page leads to the request that the reconciler has made.
        return (yield requests_of(self.master, push.id))

    def _write(self, ledger: Ledger, words: Mapping[str, str], owner: str, reason: str) -> Push:
        manifest = _manifest(self._book)
        wish = wish_of(manifest, words, owner)
        if self._kind is Via.TRY:
            made = _try(manifest, wish)
        else:
            made = _force(manifest, words, wish)
        return ledger.pushes.add(_noted(made, reason))


_WORDS = ("component", "revision", "replace", "rebuild", "targets", "suites")


def _noted(made: NewPush, reason: str) -> NewPush:
    return replace(made, note=reason[:200] if reason != "force build" else "")


def _manifest(book: Book) -> Manifest:
    looking = Looking(book.settings)
    seen = looking.see()
    if looking.manifest is None:
        raise BadInput(seen.problem)
    return looking.manifest


def wish_of(manifest: Manifest, words: Mapping[str, str], by: str) -> Wish:
    """Read what a form says; raises BadInput with the field as its place."""
    pairs = parse_pairs(_split(words["replace"]))
    known = [component.name for component in manifest.components]
    rebuild = _split(words["rebuild"])
    for field, names in (("replace", list(pairs)), ("rebuild", rebuild)):
        for name in names:
            if name not in known:
                what = f"the manifest has no component {name!r}"
                raise BadInput(what, where=field, hint=one_of(name, known))
    targets = _split(words["targets"])
    for name in targets:
        try:
            target_of(manifest, name)
        except BadInput as error:
            raise BadInput(error.what, where="targets", hint=error.hint) from error
    replaced = [replacement_of(name, given) for name, given in pairs.items()]
    return Wish(
        by=by,
        replaced=tuple(replaced),
        rebuild=tuple(rebuild),
        targets=tuple(targets),
        suites=tuple(_split(words["suites"])),
    )


def _split(text: str) -> list[str]:
    return [one for one in re.split(r"[,\s]+", text) if one]


def _try(manifest: Manifest, wish: Wish) -> NewPush:
    names = [one.component for one in wish.replaced] or list(wish.rebuild)
    return NewPush(
        component=", ".join(names) or manifest.osname,
        url="",
        branch="",
        before="",
        after="",
        via=Via.TRY,
        wish=wish,
    )


def _force(manifest: Manifest, words: Mapping[str, str], wish: Wish) -> NewPush:
    name = words["component"]
    known = [component.name for component in manifest.components]
    if name not in known:
        what = f"the manifest has no component {name!r}"
        raise BadInput(what, where="component", hint=one_of(name, known))
    source = manifest.component(name).source
    if words["revision"] and source.kind is not SourceKind.GIT:
        raise BadInput(f"a {source.kind} source has no revisions", where="revision")
    return NewPush(
        component=name,
        url=source.location,
        branch=source.branch,
        before="",
        after=words["revision"],
        via=Via.FORCE,
        wish=wish,
    )
