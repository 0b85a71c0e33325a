# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a master assigns to a remote worker, and what that one sends back: two files of JSON.

``assigned/VERB-WHAT.json`` of the run's directory is written by ``ostci assign`` and read by
``fetch`` on the worker and by ``take``, which trusts it and nothing that the worker says.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.stages.build import BuiltComponent
from pipeline.words.artifact import Artifact
from pipeline.words.errors import BadInput
from pipeline.words.refs import Commit, Key
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult

OFFER = "offer.json"

Verb = Literal["build", "test"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One thing to do elsewhere: ``build NAME`` or ``test TREE SUITE``."""

    verb: Verb
    what: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name of its file in the run's directory, without ``.json``."""
        return f"assigned/{'-'.join((self.verb, *self.what)).replace('/', ',')}"

    def __str__(self) -> str:
        return " ".join((self.verb, *self.what))


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All that a worker needs beside the run's snapshot.

    ``done``: it is there already, nothing is to be done. ``source`` is the component's source as
    an OSTree commit, ``artifacts`` what is in its buildroot, ``recipe`` the key that its artifact
    is to have. ``key`` is what clients of the tree trust, in base64. ``baseline`` is the tree that
    a failure is compared with; without it nothing of this job is of ``elsewhere``.
    """

    run: str
    job: Job
    done: bool = False
    files: tuple[str, ...] = ()
    base: Commit | None = None
    recipe: Key | None = None
    source: Commit | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    tree: Tree | None = None
    key: str = ""
    baseline: Tree | None = None
    besides: tuple[Commit, ...] = ()
    """Other trees that the suite needs."""

    @property
    def commits(self) -> tuple[Commit, ...]:
        """What is to be pulled in any case."""
        parts = [commit for one in self.artifacts.values() for commit in one.commits.values()]
        single = (self.base, self.source, self.tree.commit if self.tree else None)
        return (*(one for one in single if one is not None), *self.besides, *parts)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a worker says it has made; the objects and files of it lie beside."""

    run: str
    job: Job
    version: str
    component: BuiltComponent | None = None
    suite: SuiteResult | None = None


def job_of(options: argparse.Namespace) -> Job:
    """Read the job of a command line."""
    what = tuple(options.what)
    suite = (options.suite,) if options.suite else ()
    if options.verb == "build" and len(what) == 1 and not suite:
        return Job(verb="build", what=what)
    if options.verb == "test" and len(what) == 1 and suite:
        return Job(verb="test", what=(*what, *suite))
    raise BadInput("what is meant is: build NAME, or test TREE --suite SUITE")
