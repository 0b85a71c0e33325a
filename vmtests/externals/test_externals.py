# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every executable of ``tests/vm`` of a component is run in the guest; what it says is its result.

It runs as root, in a copy of its folder, each in a fork of its own: one that reboots is started
again with ``$AUTOPKGTEST_REBOOT_MARK``, as autopkgtest does it
(https://salsa.debian.org/ci-team/autopkgtest/-/blob/master/doc/README.package-tests.rst).
Where machines have to boot they share one, one after the other.
"""

import base64
import shlex
from collections.abc import Iterator

import pytest

from pipeline.words.external import Externals, ExternalTest
from pipeline.words.installed import judge_test
from pipeline.words.symptoms import Cause
from pipeline.words.verdict import Verdict
from vmtests.again import standing
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.conftest import forked, name_of
from vmtests.cores import keep_core, with_core
from vmtests.following import GuestFailed
from vmtests.machine import Machine

_TOP = "/var/tmp/ostci-externals"
_CHUNK = 48 * 1024
_LONGEST_SCRIPT = 96 * 1024
_LONGEST_MARK = 200
_FRESH = """\
# an empty place for {component}'s test
rm -rf {top}/run && mkdir -p {top}/run/tmp {top}/run/bin && cp -R {top}/{component} {top}/run/tests
"""
_REBOOT = """\
cat >{top}/run/bin/autopkgtest-reboot <<'END'
#!/bin/sh
[ $# = 1 ] || {{ echo "usage: autopkgtest-reboot MARK" >&2; exit 1; }}
printf %s "$1" >{top}/run/mark.new && mv {top}/run/mark.new {top}/run/mark && sync
kill -KILL "$(cat {top}/run/pid)"
# Whoever called us must not go on before the machine is down.
while :; do sleep 1000; done
END
chmod 755 {top}/run/bin/autopkgtest-reboot
ln -sf {top}/run/bin/autopkgtest-reboot /tmp/autopkgtest-reboot
"""
_RUN = """\
cd {top}/run/tests || exit 1
export HOME={top}/run/tmp TMPDIR={top}/run/tmp AUTOPKGTEST_TMP={top}/run/tmp
export PATH={top}/run/bin:$PATH
{mark}
"""
_START = """\
./{file} &
echo $! >{top}/run/pid
wait $!"""
_sent: dict[str, Machine] = {}


def _tests() -> list[tuple[ExternalTest, Externals]]:
    return [(test, one) for one in the_bench().parameters.externals for test in one.tests]


@pytest.fixture
def machine(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A fork for this test; or the machine that all share, started again after one took it down."""
    if not bench.can_fork():
        yield standing(bench)
        return
    with forked(bench, name_of(request.node)) as found:
        yield found


@pytest.mark.named
@pytest.mark.parametrize(("test", "of"), _tests(), ids=[test.name for test, _ in _tests()])
def test_external(test: ExternalTest, of: Externals, request: pytest.FixtureRequest) -> None:
    if test.problem:
        told = f"{test.name} is malformed: {test.problem}"
        raise GuestFailed(told, cause=Cause.MALFORMED)
    watched: Machine = request.getfixturevalue("watched")
    _skip_without(test, watched)
    _send(of, watched)
    _must(watched, _FRESH.format(top=_TOP, component=of.component))
    mark: str | None = None
    said: list[str] = []
    errors: list[str] = []
    for boots in range(test.reboots + 1):
        script = _script(test, mark)
        done = watched.shell(script, timeout_s=test.timeout_s)
        said.append(done.text)
        errors.append(done.error_text)
        mark = _mark(watched) if test.reboots else None
        killed = "\nKilled" if mark is not None else ""  # which is how a reboot ends it
        for line in f"{done.text}\n{done.error_text}".removesuffix(killed).strip().splitlines():
            watched.note(line)
        if mark is None:
            break
        if boots == test.reboots:
            raise GuestFailed(f"it wants to reboot more often than its header says: {test.reboots}")
        watched.note(f"it reboots, with the mark {mark}")
        watched.reboot()
    if done.code != 0 or watched.symptoms(Cause.CORE_DUMP):
        keep_core(watched, the_bench().evidence_of(test.name))
    output = "\n".join(one for one in said if one)
    found = judge_test(
        test.as_installed, done.code, output, "\n".join(errors).strip(), seconds=test.timeout_s
    )
    if found.verdict is Verdict.FAILED:
        raise GuestFailed(found.message)
    if found.verdict is Verdict.SKIPPED:
        why = f" ({test.expected_to_fail})" if test.expected_to_fail else ""
        pytest.skip(found.message + why)
    if found.message:
        watched.note(f"warning: {test.name} {found.message}")


def _skip_without(test: ExternalTest, machine: Machine) -> None:
    missing = [one for one in test.needs if not machine.has(one)]
    for package in test.packages:
        done = machine.shell(f"dpkg-query -W -f '${{db:Status-Status}}' {shlex.quote(package)}")
        if done.code != 0 or done.text != "installed":
            missing.append(package)
    if missing:
        pytest.skip(f"it needs {', '.join(missing)}, which the tree does not have")


def _send(of: Externals, machine: Machine) -> None:
    """Put a component's folder on the guest's disk, once a machine, in as few steps as can be."""
    if _sent.get(of.component) is machine:
        return
    place = f"{_TOP}/{of.component}"
    title = f"# put {of.component}'s files there\n"
    script = f"{title}rm -rf {place} && mkdir -p {place} || exit\n"
    for piece in _pieces(of, place):
        if len(script) + len(piece) > _LONGEST_SCRIPT:
            _must(machine, script)
            script = title
        script += piece
    # On the disk: the machine may be taken down by the first of them.
    _must(machine, f"{script}sync")
    _sent[of.component] = machine


def _pieces(of: Externals, place: str) -> Iterator[str]:
    """Write scripts that make the files, in pieces."""
    for file in of.files:
        path = f"{place}/{file.name}"
        yield f": >{path} && chmod {'755' if file.is_program else '644'} {path} || exit\n"
        for at in range(0, len(file.data), _CHUNK):
            text = base64.b64encode(file.data[at : at + _CHUNK]).decode()
            yield f"base64 -d >>{path} <<'END' || exit\n{text}\nEND\n"


def _must(machine: Machine, script: str) -> None:
    done = machine.shell(script, timeout_s=30.0)
    if done.code != 0:
        raise GuestFailed(f"the tests cannot be put into the guest: {done.error_text[-200:]}")


def _script(test: ExternalTest, mark: str | None) -> str:
    marked = f"export AUTOPKGTEST_REBOOT_MARK={shlex.quote(mark)}" if mark is not None else ""
    reboot = _REBOOT.format(top=_TOP) if test.reboots else ""
    begin = f"# {test.name}\n" + reboot + _RUN.format(top=_TOP, mark=marked)
    return (
        begin + with_core(_START.format(top=_TOP, file=test.file), f"{_TOP}/run") + 'exit "$code"'
    )


def _mark(machine: Machine) -> str | None:
    """Take the mark that the test left when it asked for a reboot; None where it did not."""
    path = f"{_TOP}/run/mark"
    done = machine.shell(
        f"# does it want to reboot?\n[ -e {path} ] && head -c 1000 {path} && rm {path}"
    )
    if done.code != 0:
        return None
    if len(done.text) > _LONGEST_MARK or not done.text.isprintable():
        raise GuestFailed(f"its reboot mark is no word: {ascii(done.text)[:60]}")
    return done.text
