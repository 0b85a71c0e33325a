# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci key``: which keys sign, and the change from one to the next with clients in the field.

``rotate`` makes a new key that signs beside the old one: whoever trusts either finds a good
signature. When the field has the new one, ``retire`` lets the old one sign no more.
"""

import argparse
import time

from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.cli.repair import locked
from pipeline.cli.serving import publish_key
from pipeline.ports.gpg import Keyring
from pipeline.words.errors import EXIT_PASSED, BadInput


def do_key(options: argparse.Namespace) -> int:
    """List the keys that sign, add one, or retire the old one."""
    house = open_house(options)
    keyring = house.keyring
    if options.what != "list":
        with locked(house, f"key {options.what}", wait_s=options.wait or 0.0):
            _rotate(house, keyring) if options.what == "rotate" else _retire(house, keyring)
    for place, fingerprint in enumerate(keyring.fingerprints):
        words = "signs" if place == 0 else "signs, too; to be the only one: ostci key retire"
        print(f"{fingerprint}  {words}")
    return EXIT_PASSED


def _rotate(house: House, keyring: Keyring) -> None:
    if len(keyring.fingerprints) > 1:
        house.log.fact("a change of keys is under way already; what is served is signed again")
    else:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        keyring.add(f"{house.manifest.osname} (ostci, {today})")
    count = _sign_again(house, keyring)
    name = house.manifest.osname
    print(f"{count} promoted commits, the summary and all verdicts are signed; a client gets both")
    print("keys with:")
    print(f"  curl -fO URL/{name}.gpg && ostree remote gpg-import {name} --keyring={name}.gpg")


def _retire(house: House, keyring: Keyring) -> None:
    if len(keyring.fingerprints) < 2:
        hint = house.command("key", "rotate")
        raise BadInput("there is only one key: a new one comes first", hint=hint)
    # A killed rotation may not have come to its end.
    _sign_again(house, keyring)
    for old in keyring.retire():
        print(f"{old}  signs no more; clients that trust nothing else are refused from now on")
    _sign_again(house, keyring)


def _sign_again(house: House, keyring: Keyring) -> int:
    from pipeline.stages.promote import sign_again

    count = sign_again(
        archive=house.archive, ledger=house.ledger, keyring=keyring, workdir=house.workdir
    )
    publish_key(house)
    return count
