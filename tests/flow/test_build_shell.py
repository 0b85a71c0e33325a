# SPDX-License-Identifier: LGPL-2.1-or-later
"""Entering a build: what failed as it was left, what did not with a fresh source."""

import pytest

from pipeline.stages.build import BuildResult
from pipeline.stages.building.shell import ShellRequest, enter
from pipeline.words.errors import BadInput
from pipeline.words.refs import failed_ref
from tests.buildbase import ARCH, OSNAME
from tests.yard import RUN, Yard


def shell(yard: Yard, result: BuildResult, component: str, command: str) -> int:
    """Run a command where a component was built."""
    assert yard.snapshot is not None
    request = ShellRequest(
        component=component,
        run=RUN,
        snapshot=yard.snapshot,
        arch=ARCH,
        base=yard.base.commit,
        jobs=2,
        parts=result.parts(),
        command=("sh", "-c", command),
    )
    return enter(
        request,
        repo=yard.repo,
        mirrors=yard.mirrors,
        cache=yard.workdir.cache,
        tmp=yard.workdir.tmp,
        log=yard.log,
    )


LIBRARY = {
    "Makefile": (
        "all:\ninstall:\n\tmkdir -p $(DESTDIR)/usr/include\n\tcp *.h $(DESTDIR)/usr/include\n"
    ),
    "low.h": "#define LOW 1\n",
}
BAD = {"Makefile": "all:\n\techo half > made\n\tfalse\ninstall:\n"}


def test_a_failed_build_is_entered_as_it_was_left(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    yard.source("low", LIBRARY)
    yard.source("bad", BAD)
    result = yard.build([yard.component("low"), yard.component("bad")])
    before = yard.repo.need(failed_ref(OSNAME, RUN, "bad"))
    script = "pwd; cat made /usr/include/low.h; echo mine > made; rm Makefile; exit 7"
    assert shell(yard, result, "bad", script) == 7
    assert capsys.readouterr().out.splitlines() == ["/build/bad", "half", "#define LOW 1"]
    # What was changed was a copy.
    assert shell(yard, result, "bad", "cat made") == 0
    assert capsys.readouterr().out == "half\n"
    assert yard.repo.need(failed_ref(OSNAME, RUN, "bad")) == before
    assert not list(yard.workdir.tmp.iterdir())
    yard.repo.fsck()


def test_the_build_can_be_given_again_in_it(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    yard.source("bad", BAD)
    result = yard.build([yard.component("bad")])
    mended = "sed -i /false/d Makefile; sh -e /ostci/run.sh"
    assert shell(yard, result, "bad", "sh -e /ostci/run.sh") == 2
    assert shell(yard, result, "bad", mended) == 0
    assert "ostci: installed" in capsys.readouterr().out


def test_a_build_that_did_not_fail_is_entered_with_a_fresh_source(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    yard.source("low", LIBRARY)
    yard.source("high", {"Makefile": "all:\n\ttouch made\ninstall:\n"})
    result = yard.build([yard.component("low"), yard.component("high")])
    assert shell(yard, result, "high", "ls; cat /usr/include/low.h") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "made" not in lines and "Makefile" in lines and lines[-1] == "#define LOW 1"


def test_the_walls_are_those_of_the_build(yard: Yard, capsys: pytest.CaptureFixture[str]) -> None:
    yard.source("bad", BAD)
    result = yard.build([yard.component("bad")])
    assert shell(yard, result, "bad", "echo x > /usr/bin/make || echo refused") == 0
    assert "refused" in capsys.readouterr().out
    yard.repo.fsck()


def test_a_component_that_is_not_there_is_named(yard: Yard) -> None:
    yard.source("bad", BAD)
    result = yard.build([yard.component("bad")])
    with pytest.raises(BadInput, match="the manifest has no component other"):
        shell(yard, result, "other", "true")
