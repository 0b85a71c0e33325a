# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds that people find by what was pushed: Buildbot's page shows a number and a state alone.

The state is the one text that the page shows wherever it shows a build. That of a run is its title
as soon as that is known, and what became of it in the end; that of a part of a run is the run's
title, unless it failed.
"""

from collections.abc import Mapping
from typing import Any

from buildbot.process.build import Build
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import FAILURE, SUCCESS
from twisted.internet import defer

from pipeline.words.push import Push
from pipeline.words.title import in_a_line, title_of

TITLE = "title"
_LONGEST = 400
LINKS: Mapping[str, str] = {"Links.build_link_template": "%(build_number) %(prop:run)"}
"""What a build is called in tables, for the page's settings."""


class Titled(Build):
    """A build of something that belongs to a run."""

    said = ""
    """What became of the run; steps would tell it in pieces, the one or the other twice."""

    @defer.inlineCallbacks
    def call_it(self, push: Push, subject: str = "") -> Any:
        """Give a run's build its title."""
        title = title_of(push, run=push.run or "", subject=subject)
        self.setProperty(TITLE, title, "push")
        yield self.master.data.updates.setBuildStateString(self.buildid, title)

    def buildFinished(self, text: Any, results: int) -> Any:  # noqa: N802
        """End with what became of it."""
        title = str(self.getProperty(TITLE, ""))
        if self.said:
            text = [in_a_line(f"{title}: {self.said}", _LONGEST)]
        elif title and results == SUCCESS:
            text = [title]
        elif results == FAILURE and len(text) > 1:
            text = text[1:]  # that it failed is said beside it
        return super().buildFinished(text, results)


def title_of_build(step: BuildStep) -> str:
    """Tell the title of a step's build; nothing where it has none yet."""
    return str(step.getProperty(TITLE, ""))
