# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process behind ``ostci attach``: one kept machine, and a shell in it line by line.

Each line is a script of its own; the directory is kept from one to the next. Written to by a
program, it prints what the lines print and nothing else, and ends as the last one did. Or it is
the serial console, over reboots too, which needs nothing of ours to be well in the guest.
"""

import json
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.cli.console import be_console, say
from pipeline.cli.main import main
from pipeline.ports.checkpoint import Checkpoint
from pipeline.ports.domain import Console, Ended, hypervisor
from pipeline.ports.guest import GuestResult
from pipeline.ports.log import FileSink, Log
from pipeline.ports.loopback import raise_loopback
from pipeline.words.errors import EXIT_PASSED, Failed
from pipeline.words.symptoms import Cause, console_text
from vmtests.commands import SHELL_S
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine
from vmtests.origin import Origin, read_origin

_LINE_S = 600.0
_CONSOLE = "its console: ostci attach --console"
_SCRIPT = """\
place=${{OSTCI_SHELL_DIR:-/run/ostci-shell}}/place
export HOME=/root
cd /
[ -r "$place" ] && read -r dir <"$place" && cd "$dir"
{line}
code=$?
pwd >"$place"
exit $code
"""


def visit(path: Path) -> int:
    """Let somebody in until the end of input; tells 1 where the last line did not end well."""
    said = json.loads(path.read_bytes())
    kept = Path(said["directory"])
    parameters = replace(
        pickle.loads((kept / "parameters").read_bytes()),
        sockets=said["sockets"],
        scratch=said["scratch"],
        machines=said["machines"],
    )
    # Ctrl-C is for what runs in the machine, not for us.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise_loopback()
    file = FileSink(Path(said["log"]))
    log = Log(file)
    origin = read_origin(Checkpoint(directory=kept, ram=None))
    evidence = Evidence(Path(said["scratch"]) / "evidence", log=log)
    console = Console.SOCKET if said["console"] else Console.FILE
    with hypervisor(parameters.machines, Path(said["sockets"]) / "v", log=log) as virt:
        machine = Machine(
            parameters, virt, evidence, log=log, name="kept", origin=origin, console=console
        )
        try:
            machine.start()
            if console is Console.SOCKET:
                return _be_console(machine, origin)
            machine.never_give_up()
            if origin.root is None:
                _ask_for_shell(machine, parameters.tree.name)
            return _talk(machine, parameters.tree.name)
        finally:
            machine.close()
            evidence.close()
            file.close()


def _be_console(machine: Machine, origin: Origin) -> int:
    """Be its console until the person leaves, or the guest is gone for good."""
    sys.stdout.write("\n".join(map(console_text, origin.console)))
    sys.stdout.flush()
    say("here it goes on")
    while (ended := _converse(machine)) is Ended.REBOOT:
        machine.close()
        machine.start()
        say(f"the guest reboots: {machine.entry}")
    if ended is Ended.CRASHED:
        raise Failed("the guest's kernel crashed", where=machine.parameters.tree.name)
    say("left" if ended is None else "the guest has powered off")
    return EXIT_PASSED


def _converse(machine: Machine) -> Ended | None:
    assert machine.domain is not None
    return be_console(machine.domain, meanwhile=machine.is_there)


def _ask_for_shell(machine: Machine, name: str) -> None:
    """See whether a shell answers that had not by the end of its suite; raises Failed."""
    try:
        machine.shell("true", timeout_s=SHELL_S)
    except GuestFailed as error:
        what = f"the guest's shell does not answer: {error.what}"
        raise Failed(what, where=name, hint=_CONSOLE) from error


def _talk(machine: Machine, name: str) -> int:
    code = 0
    for line in _lines(f"{name}# "):
        if line.strip() in ("exit", "logout"):
            break
        if not line.strip():
            continue
        try:
            done = machine.shell(_SCRIPT.format(line=line), timeout_s=_LINE_S)
        except GuestFailed as error:
            if error.cause is Cause.NO_SHELL:
                raise Failed(error.what, where=name, hint=_CONSOLE) from error
            raise Failed(f"the machine is gone: {error.what}", where=name) from error
        except KeyboardInterrupt:
            sys.stderr.write("\n[it still runs in the machine; the next line waits for it]\n")
            continue
        _show(done)
        code = done.code
    return EXIT_PASSED if code == 0 else Failed.exit_code


def _lines(prompt: str) -> Iterator[str]:
    """Read lines from a person, who is prompted and can edit them, or from a program."""
    if not sys.stdin.isatty():
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    with suppress(ImportError):
        import readline  # noqa: F401 # it makes input() an editor
    while True:
        try:
            yield input(prompt)
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")


def _show(done: GuestResult) -> None:
    for stream, data in ((sys.stdout, done.stdout), (sys.stderr, done.stderr)):
        stream.flush()
        stream.buffer.write(data)
        stream.flush()


def _work() -> int:
    return visit(Path(sys.argv[1]))


if __name__ == "__main__":
    main(handler=_work)
