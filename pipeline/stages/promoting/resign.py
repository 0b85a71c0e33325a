# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sign again what is served, after a change of keys.

Whatever a kill leaves half done is done by doing it again; clients that trust one of the keys that
sign before and after find a good signature at every moment.
"""

from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger, PromotionState
from pipeline.ports.ostree import Repo
from pipeline.ports.workdir import Workdir
from pipeline.stages.promoting import summary
from pipeline.stages.promoting.move import Places, sign
from pipeline.stages.promoting.published import Publisher

_WAIT_S = 900.0
_MOVED = (PromotionState.BEGUN, PromotionState.DONE)


def sign_again(*, archive: Repo, ledger: Ledger, keyring: Keyring, workdir: Workdir) -> int:
    """Sign promoted commits, the summary and the verdicts with all keys that sign now.

    Signatures that commits have stay. Tells how many commits there are.
    """
    # Only objects and the summary are touched: the repository to build with is not.
    places = Places(repo=archive, archive=archive, keyring=keyring, tmp=workdir.tmp)
    with archive.locked("signing again", wait_s=_WAIT_S), keyring.unlocked():
        promoted = dict.fromkeys(row.commit for row in ledger.promotions(states=_MOVED))
        here = [commit for commit in promoted if archive.has_commit(commit)]
        for commit in here:
            sign(places, commit)
        refs = summary.told_refs(archive)
        if refs:
            prepared = summary.prepare(archive, refs, keyring=keyring, tmp=workdir.tmp)
            summary.publish(archive, prepared)
        Publisher(ledger=ledger, keyring=keyring, into=workdir.published).sign_again()
    return len(here)
