# SPDX-License-Identifier: LGPL-2.1-or-later
"""The screens of a suite beside those of the tree that was promoted last: what is worth a look.

A screen that looks otherwise may be what a change is for. It is shown to people, and decides
nothing.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.words.picture import Difference, Shows, difference, marked, shows
from pipeline.words.png import NotAPicture, Picture, read_png, write_png

_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-spacing:.5em}"
    "img{max-width:100%;border:1px solid #888}td{width:33%;vertical-align:top}"
)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One picture: ``name`` is that of its file; ``notes`` are what people are told of it.

    ``was`` and ``differs`` are empty without one to compare it with.
    """

    name: str
    shows: Shows | None = None
    was: Shows | None = None
    differs: Difference | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_shown(self) -> bool:
        """Tell whether both are worth being shown side by side."""
        return self.differs is not None and bool(self.notes)


def look_at(
    name: str, after: bytes, before: bytes | None, *, has_session: bool
) -> tuple[Screen, bytes | None]:
    """Judge a screen, and draw where it differs from the one before, if it is worth that.

    A machine that is taken away as soon as it is up may show nothing yet. So a blank screen is told
    where there is a session, or where something was on it before.
    """
    if after == before:
        return _alone(name, after, has_session=has_session), None
    try:
        new = read_png(after)
    except NotAPicture as why:
        return Screen(name=name, notes=(f"it cannot be read: {why}",)), None
    old = _readable(before)
    if old is None:
        return _alone(name, after, has_session=has_session), None
    now, was = shows(new), shows(old)
    found = _difference(old, new, was, now)
    notes = []
    if now is Shows.BLANK and (has_session or was is not Shows.BLANK):
        notes.append("it is blank")
    elif now is not was:
        notes.append(f"it shows {now}, and showed {was}" if was is not Shows.BLANK else "")
    if found.is_large:
        notes.append(found.words)
    screen = Screen(
        name=name, shows=now, was=was, differs=found, notes=tuple(one for one in notes if one)
    )
    drawn = write_png(marked(old, new)) if screen.is_shown and not found.sizes else None
    return screen, drawn


def _alone(name: str, data: bytes, *, has_session: bool) -> Screen:
    picture = _readable(data)
    if picture is None:
        return Screen(name=name, notes=("it cannot be read",))
    now = shows(picture)
    is_told = has_session and now is Shows.BLANK
    return Screen(name=name, shows=now, notes=("it is blank",) if is_told else ())


def _readable(data: bytes | None) -> Picture | None:
    try:
        return read_png(data) if data is not None else None
    except NotAPicture:
        return None


def _difference(old: Picture, new: Picture, was: Shows, now: Shows) -> Difference:
    """Compare two screens; lines on a text console are in its log, and are other ones each time.

    Nor does it say anything that something has come to a screen that was blank.
    """
    if was is Shows.BLANK or (was is now and now is Shows.TEXT):
        return Difference(share=0.0)
    return difference(old, new)


def page(title: str, version: str, screens: Sequence[Screen]) -> str:
    """Write the page that shows both of each, and where they differ.

    Beside it lie ``NAME``, ``before-NAME`` and, where the sizes are equal, ``differs-NAME``.
    """
    parts = []
    for screen in screens:
        name = html.escape(screen.name)
        told = html.escape("; ".join(screen.notes))
        names = [f"before-{name}", name]
        if screen.differs is not None and not screen.differs.sizes:
            names.append(f"differs-{name}")
        cells = "".join(f'<td><a href="{one}"><img src="{one}" alt=""></a></td>' for one in names)
        heads = "".join(
            f"<th>{one}</th>"
            for one in [f"{html.escape(version)}, promoted last", "now", "where"][: len(names)]
        )
        parts.append(f"<h2>{name}</h2><p>{told}</p><table><tr>{heads}</tr><tr>{cells}</tr></table>")
    head = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
    return f"{head}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
