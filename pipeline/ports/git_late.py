# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mirrors for what was resolved elsewhere: a source is fetched when it is to be built.

Most of what a server has resolved is taken from it as artifacts, and never needs its source here.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.ports.git import Mirrors
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.snapshot import Pin

_NEEDED = "it has to be built again here, and its source"
_INSTEAD = "give one of your own: COMPONENT=DIR"


class LateMirrors(Mirrors):
    """Mirrors that may lack what a snapshot names; ``copies`` is where working copies may lie."""

    copies: Path | None = None

    def have(self, source: Source, pin: Pin) -> None:
        """Fetch what is not here; raises Trouble where it cannot be had any more.

        A working copy of another machine cannot: the path of one may be anything here.
        """
        where = f"{source.kind}:{source.location}"
        if source.kind is SourceKind.LOCAL:
            place = Path(source.location).resolve()
            if self.copies is None or not place.is_relative_to(self.copies.resolve()):
                raise Trouble(f"{_NEEDED} is a directory of the server's; {_INSTEAD}", where=where)
            return
        exact = source
        if source.kind is SourceKind.GIT:
            exact = replace(source, branch="", tag="", revision=pin.revision)
        try:
            self.fetch(exact)
        except (Failed, Trouble) as error:
            what = f"{_NEEDED} cannot be had; {_INSTEAD}: {error.what}"
            raise Trouble(what, where=where) from error
