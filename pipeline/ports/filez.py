# SPDX-License-Identifier: LGPL-2.1-or-later
"""File objects of a repository that is built in, as a repository that is served would have them.

OSTree pulls over HTTP from ``archive`` repositories alone. What such a one keeps of a file is a
header and the deflated content, which is made here of a ``bare-user`` file when it is asked for:
nothing is stored twice. Format: ostree-core.h, ``OSTREE_ZLIB_FILE_HEADER_GVARIANT_FORMAT``.
"""

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports.ostree import DIRMETA_FORMAT
from pipeline.words import gvariant, gvariant_write

CONFIG = b"[core]\nrepo_version=1\nmode=archive-z2\n"
_HEADER = "(tuuuusa(ayay))"
_META = "user.ostreemeta"
_PIECE = 1 << 18
_LEVEL = 1
"""A network between machines of one hall is faster than a higher level."""


def filez(path: Path) -> Iterator[bytes]:
    """Yield a file object as an ``archive`` repository has it; raises OSError, ValueError."""
    with path.open("rb") as file:
        meta = os.getxattr(file.fileno(), _META)
        uid, gid, mode, xattrs = gvariant.decode(DIRMETA_FORMAT, meta)
        is_link = stat.S_ISLNK(gvariant.swapped(mode, 4))
        size = 0 if is_link else os.fstat(file.fileno()).st_size
        to = file.read().rstrip(b"\0").decode() if is_link else ""
        # Owner and mode are big-endian already, as they are stored.
        values = (gvariant.swapped(size, 8), uid, gid, mode, 0, to, xattrs)
        header = gvariant_write.encode(_HEADER, values)
        yield struct.pack(">I4x", len(header)) + header
        if is_link:
            return
        deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        while piece := file.read(_PIECE):
            if made := deflate.compress(piece):
                yield made
        yield deflate.flush()
