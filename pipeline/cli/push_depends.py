# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a push cannot be tested without, as ``Depends-On:`` in its commit messages says.

A push whose dependency is in the line already goes its way. One whose dependency comes later
gives way to that: the run of the later one has both, and is the ending of both. Two that depend
on each other are one run so, too.
"""

from collections.abc import Callable, Iterable

from pipeline.cli.house import House
from pipeline.ports.git_history import is_within, read_messages
from pipeline.words.depends_on import Dependency, depends_on, is_met_by, is_named
from pipeline.words.errors import BadInput, Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.push import Push, Via, sources_of
from pipeline.words.refs import is_revision
from pipeline.words.snapshot import Snapshot

_MOST = 1000
"""How far back pushes are looked through."""


def unmet(
    house: House,
    push: Push,
    along: Iterable[Push],
    known: Snapshot | None,
    is_resolved: Callable[[Push], bool],
) -> tuple[Dependency, ...]:
    """List the dependencies of a push that are neither in the line nor come ``along``."""
    wanted = _dependencies(house, push)
    if not wanted:
        return ()
    pushes = [one for one in house.ledger.pushes.newest(_MOST) if not one.is_try]
    left = []
    for one in wanted:
        meets = [other for other in pushes if is_met_by(one, other)]
        if any(is_met_by(one, other) for other in (push, *along)):
            continue
        if one.revision and any(is_resolved(other) for other in meets):
            continue
        waits = [other for other in meets if other.is_open and not is_resolved(other)]
        if waits or not _is_in(house, one, known):
            left.append(one)
    return tuple(left)


def later_one(left: Iterable[Dependency], push: Push, pushes: Iterable[Push]) -> Push | None:
    """Find the last of the later pushes that wait and together are all that is waited for."""
    wanted = tuple(left)
    later = [
        other
        for other in pushes
        if other.id > push.id and any(is_met_by(one, other) for one in wanted)
    ]
    if all(any(is_met_by(one, other) for other in later) for one in wanted):
        return later[-1] if later else None
    return None


def _dependencies(house: House, push: Push) -> tuple[Dependency, ...]:
    if push.via in (Via.BASE, Via.MANIFEST, Via.NIGHTLY) or not is_revision(push.after):
        return ()
    source = Source(kind=SourceKind.GIT, location=push.url, revision=push.after)
    mirrors = house.mirrors
    try:
        mirrors.fetch(source)
        commits = push.commits or (push.after,)
        messages = read_messages(mirrors.path(source), commits, git=mirrors.git)
    except (Failed, BadInput, Trouble) as error:
        # Resolving it comes to the same, and tells it.
        house.log.detail(f"its messages cannot be read: {error}", about=push.component)
        return ()
    found = dict.fromkeys(one for text in messages for one in depends_on(text))
    return tuple(found)


def _is_in(house: House, dependency: Dependency, known: Snapshot | None) -> bool:
    """Tell whether what is depended on is in a snapshot, which may be further already."""
    if known is None:
        return False
    for name, source in sources_of(known.manifest):
        if not is_named(dependency, name, source.location):
            continue
        pin = known.patches if source is known.manifest.patches else known.pins.get(name)
        if pin is None or source.kind is not SourceKind.GIT:
            continue
        if not dependency.revision:
            return True
        mirrors = house.mirrors
        git = mirrors.git
        if is_within(mirrors.path(source), dependency.revision, pin.revision, git=git):
            return True
    return False
