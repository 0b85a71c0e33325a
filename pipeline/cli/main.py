# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command ``ostci``: its verbs, and how endings become exit codes.

Each verb's work is in a module of its own, imported when the verb is given: ``ostci plan`` answers
before a database library would have been loaded.
"""

import errno
import gc
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pipeline import __version__
from pipeline.words.errors import EXIT_BUG, EXIT_PASSED, BadInput, Ending, Interrupted, Trouble

_YOUNG = 200_000
"""So many objects more before they are looked through for garbage: a start alone makes 100,000,
all of which stay."""
_FULL = 1024**2
"""With fewer bytes left a disk is as good as full: what a program said of it is not the cause."""


def main(
    argv: Sequence[str] | None = None, *, handler: Callable[[], int] | None = None
) -> NoReturn:
    """Run the command and exit with the code of its ending (see ``words/errors``).

    Nothing that it started is alive afterwards. ``handler`` stands in for a verb's.
    """
    gc.set_threshold(_YOUNG)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        sys.exit(run(argv) if handler is None else guarded(handler))
    finally:
        _end_all()
        # The interpreter would look through all that was loaded once more before it goes.
        gc.freeze()


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and tell its exit code."""
    from pipeline.cli.verbs import build_parser

    options = build_parser(__version__).parse_args(argv)
    return guarded(lambda: options.handler(options), workdir=options.workdir)


def guarded(handler: Callable[[], int], *, workdir: Path | None = None) -> int:
    """Do the work and tell its exit code; whatever it raised has been told to the person."""
    try:
        return handler()
    except Trouble as error:
        return _tell(_with_its_cause(error, workdir))
    except (Ending, KeyboardInterrupt, BrokenPipeError) as error:
        return _tell(error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _tell(_no_space(Path(error.filename or workdir or ".")))
        _say(f"ostci: this is a bug in ostci, not in what it was given: {type(error).__name__}")
        traceback.print_exc()
        return EXIT_BUG


def _with_its_cause(error: Trouble, workdir: Path | None) -> Trouble:
    """Say that a disk is full where that is why a program was in trouble, whatever it said."""
    for place in (workdir or Path.cwd(), Path(tempfile.gettempdir())):
        if place.is_dir() and shutil.disk_usage(place).free < _FULL:
            full = _no_space(place)
            what = str(error) if "no space left" in str(error) else f"{full}: {error}"
            return Trouble(what, hint=full.hint)
    return error


def _no_space(path: Path) -> Trouble:
    from pipeline.ports.files import full_disk

    return full_disk(path)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Programs first: threads that wait for one would keep the interpreter from ending.
    _end_all()
    raise KeyboardInterrupt


def _end_all() -> None:
    process = sys.modules.get("pipeline.ports.process")
    if process is not None:
        process.stop_all()


def _tell(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough, as with ``ostci show | head``.
        sys.stderr.close()
        return EXIT_PASSED
    if isinstance(error, KeyboardInterrupt):
        _say("stopped; nothing is left running")
        return Interrupted.exit_code
    assert isinstance(error, Ending)
    if isinstance(error, BadInput) and error.problems:
        # As compilers write them: editors jump to the place.
        _say("\n".join(map(str, error.problems)))
        first, more = str(error.problems[0]).partition("\n")[0], len(error.problems) - 1
        _say(f"ostci: {error.title}: {first}" + (f", and {more} more" if more else ""))
    else:
        _say(f"ostci: {error.title}: {error}")
    if error.hint:
        _say(f"  → {error.hint}")
    return error.exit_code


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
