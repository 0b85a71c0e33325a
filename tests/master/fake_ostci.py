# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pretended ``ostci`` for the master's tests: it writes down what it was given, and obeys.

Beside it lies ``calls``, a line for each command that was given. A file ``exit-VERB`` or
``exit-VERB-NAME`` (``exit-test-TREE-SUITE``) holds exit codes, one a line: each command takes the
first; ``hang`` is one
that never ends, ``silent`` one that ends as a real one does when it is asked to, ``held-3`` one
that ends with 3 when there is a file ``go``. With a file
``keep-all`` there is nothing to build, with ``last-ends`` the last stage gives the run its ending.
What a real command would leave in the run's directory and
in the ledger is left.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from pipeline.ports.workdir import RunDir, Workdir

HERE = Path(os.environ.get("FAKE_OSTCI", "/nonexistent"))
COMPONENTS = [("hello-lib", ()), ("hello", ("hello-lib",))]


def main() -> int:
    """Do as if."""
    assert sys.argv[1] == "-C"
    workdir, verb, words = Workdir(Path(sys.argv[2])), sys.argv[3], sys.argv[4:]
    name = words[0] if words and not words[0].startswith("--") else ""
    name += f"-{words[words.index('--suite') + 1]}" if "--suite" in words else ""
    # What the real one takes to start is no silence of the command's.
    sys.stderr.write("ostci: begun\n")
    sys.stderr.flush()
    write_call(" ".join([verb, *words]))
    code = next_code(f"exit-{verb}-{name}") or next_code(f"exit-{verb}") or "0"
    if code in ("hang", "silent"):
        signal.signal(signal.SIGTERM, stopped if code == "silent" else signal.SIG_DFL)
        write_call(f"hangs {verb}")
        while True:
            signal.pause()
    if code.startswith("held-"):
        write_call(f"hangs {verb}")
        while not (HERE / "go").exists():
            time.sleep(0.05)
        code = code.removeprefix("held-")
    DO.get(verb, nothing)(workdir, words, int(code))
    if code != "0":
        sys.stderr.write(f"ostci: failed: {verb} was told to end with {code}\n")
    return int(code)


def stopped(*_: object) -> None:
    """End as interrupted."""
    sys.stderr.write("ostci: interrupted: it was stopped\n")
    sys.exit(130)


def write_call(text: str) -> None:
    """Append to ``calls``; several may do so at once."""
    with (HERE / "calls").open("a") as file:
        file.write(text + "\n")


def next_code(name: str) -> str:
    """Take the first line of a file away."""
    path = HERE / name
    if not path.is_file():
        return ""
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first, _, rest = file.read().partition("\n")
        file.seek(0)
        file.truncate()
        file.write(rest)
    return first


def resolve(workdir: Workdir, words: list[str], code: int) -> None:
    """Make the run of a push."""
    from pipeline.ports.ledger import Ledger
    from pipeline.ports.ledger_place import read_ledger_url
    from pipeline.words.manifest_text import read_manifest
    from pipeline.words.records import to_json
    from pipeline.words.refs import Key, Revision
    from pipeline.words.snapshot import BasePin, Pin, Snapshot

    number = int(words[words.index("--push") + 1])
    ledger = Ledger(read_ledger_url(workdir))
    push = ledger.pushes.get(number)
    if code or push.run:
        return
    run = workdir.new_run()
    text = (workdir.root.parent / "sample" / "manifest.yaml").read_text()
    manifest = read_manifest(text, "manifest.yaml", relative_to=str(workdir.root)).manifest
    assert manifest is not None
    pin = Pin(revision=Revision(push.after), subject="bring <b>joy</b>")
    base = BasePin(key=Key("0" * 64))
    snapshot = Snapshot(manifest=manifest, pins={push.component: pin}, base=base)
    run.file("snapshot").write_text(to_json(snapshot))
    ledger.begin_run(run.version, manifest.osname, time.time())
    write_record(run, "open", "")
    ledger.pushes.assign_run(number, run.version)


def write_record(run: RunDir, ending: str, message: str) -> None:
    """Write ``run.json``."""
    record = {"version": run.version, "osname": "tiny", "manifest": "m", "started": 0.0, "pid": 1}
    record |= {"ending": ending, "message": message, "snapshot": "5" * 64}
    record |= {"stages": {"plan": {"ending": "passed", "seconds": 2.5}}}
    run.file("run").write_text(json.dumps(record))


def watch(_workdir: Workdir, _words: list[str], _code: int) -> None:
    """Find nothing new of base and manifest."""
    sys.stdout.write("{}")


def plan(_workdir: Workdir, _words: list[str], _code: int) -> None:
    """Print what is to be built: the sample's components, and one that is kept."""
    rows = [{"component": "init", "decision": "keep", "reasons": [], "after": []}]
    for name, after in () if (HERE / "keep-all").is_file() else COMPONENTS:
        why = "a header that it opened changed: " + ", ".join(f"{one}.h" for one in range(2000))
        row = {"component": name, "decision": "rebuild", "reasons": [why], "after": after}
        rows.append(row)
    json.dump({"arch": "x86_64", "summary": {}, "components": rows}, sys.stdout, indent=2)


def compose(workdir: Workdir, words: list[str], code: int) -> None:
    """Leave one tree."""
    run = workdir.run(words[words.index("--run") + 1])
    tree = {"name": "x86_64-runtime", "target": "runtime", "commit": "c" * 64}
    if not code:
        run.file("trees").write_text(json.dumps({"trees": [tree]}))


def end(workdir: Workdir, words: list[str], code: int) -> None:
    """Give the run an ending: the next of ``exit-end-ending``, or passed."""
    from pipeline.ports.ledger import Ledger
    from pipeline.ports.ledger_place import read_ledger_url

    if not code:
        ending = next_code("exit-end-ending") or "passed"
        write_record(workdir.run(words[0]), ending, "as it was told")
        Ledger(read_ledger_url(workdir)).end_run(words[0], ending)


def last(workdir: Workdir, words: list[str], code: int) -> None:
    """End the run as the real one does, with a file ``last-ends``."""
    if not code and "--end" in words and (HERE / "last-ends").is_file():
        end(workdir, [words[words.index("--run") + 1]], code)


def cancel(workdir: Workdir, words: list[str], _code: int) -> None:
    """Record who stopped it."""
    write_record(workdir.run(words[0]), "interrupted", f"by {words[2]}")


def nothing(_workdir: Workdir, _words: list[str], _code: int) -> None:
    """Leave nothing."""


DO = {
    "watch": watch,
    "resolve": resolve,
    "plan": plan,
    "compose": compose,
    "judge": last,
    "promote": last,
    "end": end,
    "cancel": cancel,
}

if __name__ == "__main__":
    sys.exit(main())
