# SPDX-License-Identifier: LGPL-2.1-or-later
"""Believing what others signed: keys in a file, and texts that one of them has to have signed.

``gpgv`` knows no keys but those it is given, no trust, no agent and no home. Cleartext signatures
alone are read (RFC 9580, 7): text and signature are in one file, and nothing in it is compressed.
"""

import tempfile
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput

_DEADLINE_S = 60.0
_BEGINS = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
_ARMORED = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"


class NotSigned(ValueError):
    """A text that none of the keys has signed; says why."""


def read_keys(data: bytes, *, log: Log, where: str) -> bytes:
    """Read public keys as they are kept in a file, in letters or binary; tells them in binary.

    Raises BadInput for what holds none.
    """
    if data.lstrip().startswith(_ARMORED):
        data = _gpg(["--dearmor"], data, log).stdout
    if not fingerprints(data, log=log):
        raise BadInput("it holds no public key", where=where)
    return data


def fingerprints(keys: bytes, *, log: Log) -> tuple[str, ...]:
    """Tell the fingerprints of public keys; none for what is no key."""
    done = _gpg(["--with-colons", "--show-keys"], keys, log)
    rows = [line.split(":") for line in done.text.splitlines()]
    # The key's own comes after its row, those of its subkeys after theirs.
    found, kind = [], ""
    for fields in rows:
        if fields[0] == "fpr" and kind == "pub":
            found.append(fields[9])
        kind = fields[0]
    return tuple(found)


def verified_text(signed: bytes, keys: bytes, *, log: Log) -> str:
    """Tell the text that one of the keys has signed, and nothing that stands beside it.

    Raises NotSigned.
    """
    if not signed.startswith(_BEGINS):
        raise NotSigned("it is no signed text")
    with tempfile.TemporaryDirectory(prefix="ostci-gpgv-") as name:
        ring, text = Path(name) / "keys.gpg", Path(name) / "text"
        ring.write_bytes(keys)
        argv = ["gpgv", f"--homedir={name}", f"--keyring={ring}", f"--output={text}", "-"]
        done = _run(argv, signed, log)
        if done.code != 0:
            lines = [line for line in done.error_text.splitlines() if "ignature" in line]
            raise NotSigned((lines or [done.error_text.strip()])[-1].removeprefix("gpgv: "))
        return text.read_text()


def _gpg(argv: list[str], data: bytes, log: Log) -> process.Finished:
    """Give a command that needs no key of anybody's."""
    with tempfile.TemporaryDirectory(prefix="ostci-gpg-") as name:
        fixed = ["gpg", f"--homedir={name}", "--batch", "--no-tty", "--quiet", "--no-autostart"]
        return _run([*fixed, "--no-options", *argv], data, log)


def _run(argv: list[str], data: bytes, log: Log) -> process.Finished:
    return process.run(argv, log=log, input=data, ok=(), deadline_s=_DEADLINE_S)
