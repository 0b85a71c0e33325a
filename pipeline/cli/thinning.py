# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci clean``, of the ``compose`` lines: old trees lose their files as the manifest says."""

from pipeline.cli.house import House
from pipeline.ports.ledger import PromotionState
from pipeline.ports.ostree import Repo
from pipeline.ports.thinning import drop_files
from pipeline.words.errors import BadInput
from pipeline.words.manifest import Retention
from pipeline.words.refs import Commit, RefName, compose_ref
from pipeline.words.retention import Composed, droppable

_WAIT_S = 900.0
_PROMOTED = (PromotionState.BEGUN, PromotionState.DONE)


def policy_of(house: House) -> Retention | None:
    """Tell what is kept; nothing is dropped by a manifest that cannot be read."""
    try:
        return house.manifest.retention
    except BadInput as error:
        house.log.warning(f"no tree is thinned: {error}")
        return None


def lines(house: House) -> list[RefName]:
    """List the ``compose`` lines of the manifest's operating system."""
    prefix = compose_ref(house.manifest.osname, "x").rpartition("/")[0]
    return list(house.repo.refs(prefix))


def thinnable(house: House, line: RefName, policy: Retention) -> tuple[Commit, ...]:
    """List the trees of a line that may lose their files."""
    bound: set[Commit] = {at for repo in _both(house) for at in repo.refs().values()}
    for row in house.ledger.promotions(states=_PROMOTED):
        bound |= {row.commit} | ({row.previous} if row.previous else set())
    whole, any_judged = [], False
    for info in house.repo.history(line):
        if house.repo.has_commit(info.commit):
            # Only the newest that has a verdict counts: it is looked for as far as that one.
            judged = not any_judged and bool(house.ledger.verdicts(info.commit))
            any_judged |= judged
            whole.append(
                Composed(
                    commit=info.commit,
                    time=info.time,
                    bound=info.commit in bound,
                    judged=judged,
                )
            )
    return droppable(whole, policy)


def thin(house: House, line: RefName, policy: Retention, *, wait_s: float = _WAIT_S) -> None:
    """Drop the files of what may lose them, in both repositories; a prune frees the room.

    What may is asked again with promotions and composes locked out: one may have come between.
    """
    with (
        house.archive.locked(f"thinning of {line}", wait_s=wait_s),
        house.repo.locked(f"thinning of {line}", wait_s=wait_s),
    ):
        gone = set(thinnable(house, line, policy))
        for commit in sorted(gone):
            house.log.detail(f"{commit} of {line} loses its files", about="clean")
        # Those that a kill left half done are among the ones without their files.
        gone |= {
            info.commit
            for info in house.repo.history(line)
            if not house.repo.has_commit(info.commit)
        }
        for repo in _both(house):
            drop_files(repo, gone)


def _both(house: House) -> tuple[Repo, Repo]:
    return house.repo, house.archive
