# SPDX-License-Identifier: LGPL-2.1-or-later
"""Record what is to be done about the merge requests of one repository.

Nothing is fetched here: a stranger's history may be of any size, so that is left to the run of the
try, which fails alone.
"""

import time
from collections.abc import Collection, Mapping

from pipeline.ports.ledger_requests import Begun, RequestLedger
from pipeline.ports.log import Log
from pipeline.words.push import Push
from pipeline.words.request import Follower, Known, find, new_request, words_of


def record_requests(
    url: str,
    followers: Collection[Follower],
    there: Mapping[str, str],
    *,
    requests: RequestLedger,
    log: Log,
) -> Begun:
    """Record tries of the heads that are new, and end those of requests that are no more."""
    known = requests.known(url)
    found = find(followers, known, there, requests.going(url), time.time())
    if found.is_first:
        requests.note_first(url, found.first)
    begun: list[Push] = []
    given_up: list[Push] = []
    for ref in found.gone:
        given_up += requests.note_gone(url, ref)
    for ref, head in found.tries.items():
        made = new_request(url, followers, known.get(ref, Known(ref=ref)), head)
        one = requests.begin(made)
        begun += one.begun
        given_up += one.given_up
    for push in begun:
        log.fact(f"push {push.id}: a try of {words_of(push.branch)}", about=push.component)
    for push in given_up:
        log.fact(f"push {push.id} is {push.state}: {push.message}", about=push.component)
    return Begun(begun=tuple(begun), given_up=tuple(given_up))
