# SPDX-License-Identifier: LGPL-2.1-or-later
"""The build stage for real: git repositories, a Debian base, gcc, the sandbox and OSTree."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.log import ListSink, Log
from pipeline.stages.build import BuildResult, Outcome
from pipeline.stages.building.kept import METADATA_KEY, read_kept
from pipeline.words.artifact import BASE
from pipeline.words.errors import Failed, Interrupted, Trouble
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Part, component_ref, failed_ref
from tests.buildbase import ARCH, OSNAME
from tests.small_disk import small_disk
from tests.yard import RUN, Yard, one

LIBRARY = {
    "Makefile": (
        "all:\n\t$(CC) $(CFLAGS) -fPIC -shared -Wl,-soname,libhi.so.1 -o libhi.so.1.0 hi.c\n"
        "install:\n\tmkdir -p $(DESTDIR)$(LIBDIR) $(DESTDIR)/usr/include\n"
        "\tmkdir -p $(DESTDIR)/usr/share/man/man3\n"
        "\tcp libhi.so.1.0 $(DESTDIR)$(LIBDIR)\n"
        "\tln -sf libhi.so.1.0 $(DESTDIR)$(LIBDIR)/libhi.so.1\n"
        "\tln -sf libhi.so.1 $(DESTDIR)$(LIBDIR)/libhi.so\n"
        "\tcp hi.h other.h $(DESTDIR)/usr/include\n\techo hi > $(DESTDIR)/usr/share/man/man3/hi.3\n"
    ),
    "hi.c": '#include "hi.h"\nint hi(int n) { return n + 1; }\nint table[4] = {1};\n',
    "hi.h": "int hi(int n);\nextern int table[4];\n",
    "other.h": "#define OTHER 1\n",
}


def user_of(header: str, name: str) -> dict[str, str]:
    """Write a program that includes one header and is linked to the library."""
    return {
        "Makefile": (
            f"all:\n\t$(CC) $(CFLAGS) -o {name} use.c -lhi\n"
            f"install:\n\tmkdir -p $(DESTDIR)/usr/bin\n\tcp {name} $(DESTDIR)/usr/bin\n"
        ),
        "use.c": f"#include <{header}>\nint hi(int n);\nint main(void) {{ return hi(-1); }}\n",
    }


def script(*lines: str) -> dict[str, str]:
    """Write a Makefile whose ``install`` runs shell lines."""
    body = "".join(f"\t{line}\n" for line in lines)
    return {"Makefile": f"all:\n\ninstall:\n\tmkdir -p $(DESTDIR)/usr/share\n{body}"}


@pytest.fixture
def may_start_again() -> Iterator[None]:
    """Let programs be started again after a test has stopped them all."""
    yield
    process._stopping.clear()


def names(result: BuildResult) -> tuple[tuple[str, ...], ...]:
    return result.built, result.kept, result.failed, result.blocked


# What is built again


@pytest.mark.slow
def test_a_library_and_its_users_are_rebuilt_only_for_what_they_see(yard: Yard) -> None:
    yard.source("hi", LIBRARY)
    yard.source("first", user_of("hi.h", "first"))
    yard.source("second", user_of("other.h", "second"))
    components = [yard.component(name) for name in ("hi", "first", "second")]
    assert names(yard.build(components)) == (("hi", "first", "second"), (), (), ())
    assert names(yard.build(components)) == ((), ("hi", "first", "second"), (), ())

    yard.source("hi", {"hi.c": "/* said\n at length */\n" + LIBRARY["hi.c"]}, subject="a comment")
    result = yard.build(components)
    assert names(result) == (("hi",), ("first", "second"), (), ())
    assert one(result, "first").reasons == ("nothing that it uses has changed",)
    assert [text[11:] for text in one(result, "hi").new_commits] == ["a comment"]

    yard.source("hi", {"hi.h": LIBRARY["hi.h"] + "/* more */\n"})
    result = yard.build(components)
    assert names(result) == (("hi", "first"), ("second",), (), ())
    assert one(result, "first").reasons == ("header hi.h of hi changed",)

    yard.source("hi", {"hi.c": LIBRARY["hi.c"] + "int more(void) { return 1; }\n"})
    result = yard.build(components)
    assert names(result) == (("hi", "first", "second"), (), (), ())
    assert one(result, "second").reasons == ("library libhi.so.1 of hi changed",)


def test_only_what_was_opened_is_in_the_used_set(yard: Yard) -> None:
    yard.source("hi", LIBRARY)
    yard.source("first", user_of("hi.h", "first"))
    result = yard.build([yard.component("hi"), yard.component("first")])
    key = one(result, "first").key
    assert key is not None
    artifact = yard.artifacts.by_key(key)
    assert artifact is not None
    assert set(artifact.used["hi"]) == {"header:hi.h", "lib:libhi.so.1"}
    assert {"gcc-12", "libc6-dev", "make"} <= set(artifact.used[BASE])
    assert "cmake" not in artifact.used[BASE]


def test_the_same_inputs_make_the_same_commits(shared: Yard, tmp_path: Path, log: Log) -> None:
    results = []
    for place in ("a", "another/much/longer/one"):
        yard = Yard.make(tmp_path / place, log=log, like=shared)
        yard.source("hi", LIBRARY)
        yard.source("first", user_of("hi.h", "first"))
        results.append(yard.build([yard.component("hi"), yard.component("first")]))
        time.sleep(1.1)  # times in files have seconds
    for first, second in zip(results[0].components, results[1].components, strict=True):
        assert (first.key, first.commits) == (second.key, second.commits)
        assert {Part.RUNTIME, Part.DEBUG} <= set(first.commits)


def test_a_forced_component_is_built_again_to_the_same_commits(yard: Yard) -> None:
    yard.source("hi", LIBRARY)
    before = yard.build([yard.component("hi")])
    after = yard.build([yard.component("hi")], force=["hi"])
    assert after.built == ("hi",)
    assert one(after, "hi").reasons == ("forced",)
    assert one(after, "hi").commits == one(before, "hi").commits


def test_refs_of_components_follow_what_was_kept(yard: Yard) -> None:
    yard.source("hi", LIBRARY)
    first = one(yard.build([yard.component("hi")]), "hi")
    yard.source("hi", {"hi.c": LIBRARY["hi.c"].replace("n + 1", "n + 2")})
    yard.build([yard.component("hi")])
    yard.source("hi", LIBRARY)
    again = one(yard.build([yard.component("hi")]), "hi")
    assert again.outcome in (Outcome.KEPT, Outcome.BUILT)
    for part, commit in again.commits.items():
        assert yard.repo.resolve(component_ref(OSNAME, "hi", ARCH, part)) == commit
    assert again.commits.keys() == first.commits.keys()


# What fails


def test_a_failed_component_stops_only_what_needs_it(yard: Yard, sink: ListSink) -> None:
    yard.source("bad", script("echo 'the reason is this' >&2; exit 3"))
    yard.source("worse", script("false"))
    yard.source("good", script("touch $(DESTDIR)/usr/share/good"))
    yard.source("user", script("touch $(DESTDIR)/usr/share/user"))
    result = yard.build(
        [
            yard.component("bad", depends=()),
            yard.component("worse", depends=()),
            yard.component("good", depends=()),
            yard.component("user", depends=("good", "bad")),
        ]
    )
    assert names(result) == (("good",), (), ("bad", "worse"), ("user",))
    assert "exit code 2" in one(result, "bad").message
    assert one(result, "user").message == "it needs bad, which failed"
    error = result.error()
    assert isinstance(error, Failed)
    assert "bad: the build of bad ended with exit code 2" in error.what
    assert "worse: " in error.what and "not built because of that: user" in error.what
    assert error.hint == "enter the build that failed: ostci shell bad"
    assert any("the reason is this" in line for line in sink.texts())
    assert result.parts().keys() == {"good"}
    assert from_json(BuildResult, to_json(result)) == result


def test_with_the_order_of_the_list_a_failure_stops_only_who_used_it(yard: Yard) -> None:
    yard.source("hi", LIBRARY)
    yard.source("first", user_of("hi.h", "first"))
    yard.source("apart", script("touch $(DESTDIR)/usr/share/apart"))
    components = [yard.component(name) for name in ("hi", "first", "apart")]
    yard.build(components)
    yard.source("hi", {"hi.c": "no C at all\n"}, subject="break it")
    yard.source("apart", script("touch $(DESTDIR)/usr/share/new"))
    result = yard.build(components)
    assert names(result) == (("apart",), (), ("hi",), ("first",))
    assert [text[11:] for text in one(result, "hi").new_commits] == ["break it"]


def test_a_component_without_a_source_has_failed_and_others_go_on(yard: Yard) -> None:
    yard.source("gone", script("true"))
    yard.source("good", script("touch $(DESTDIR)/usr/share/good"))
    result = yard.build(
        [yard.component("gone", depends=()), yard.component("good", depends=())],
        without=["gone"],
    )
    assert names(result) == (("good",), (), ("gone",), ())
    assert one(result, "gone").message == "its source could not be resolved"


def test_the_tree_of_a_failed_build_is_kept_on_a_ref_of_its_own(yard: Yard) -> None:
    yard.source("bad", script("touch made $(DESTDIR)/usr/share/half", "mkfifo pipe", "false"))
    result = yard.build([yard.component("bad")])
    ref = failed_ref(OSNAME, RUN, "bad")
    assert one(result, "bad").failed_ref == ref
    commit = yard.repo.need(ref)
    info = yard.repo.info(commit)
    assert info.bindings == (ref,)
    assert json.loads(info.metadata[METADATA_KEY])["base"] == yard.base.commit
    paths = {path for path, _ in yard.repo.walk(commit)}
    assert {"/build/bad/made", "/build/bad/Makefile", "/destdir/usr/share/half"} <= paths
    kept = read_kept(yard.repo, OSNAME, RUN, "bad")
    assert kept is not None and kept.layers.base == yard.base.commit


def test_a_full_disk_is_trouble_and_nothing_more_is_begun(
    yard: Yard,
) -> None:
    yard.source("first", script("touch $(DESTDIR)/usr/share/first"))
    yard.source("second", script("touch $(DESTDIR)/usr/share/second"))
    components = [yard.component("first"), yard.component("second")]
    # The repository refuses to write when less than this is free: a full disk, in its own words.
    yard.repo.run("config", "set", "core.min-free-space-size", "9999TB")
    result = yard.build(components)
    assert names(result) == ((), (), ("first",), ("second",))
    assert isinstance(result.error(), Trouble)
    assert "no space left" in one(result, "first").message
    assert "not begun: no space left" in one(result, "second").message
    yard.repo.run("config", "set", "core.min-free-space-size", "1MB")
    assert yard.build(components).built == ("first", "second")
    yard.repo.fsck()


def test_a_disk_that_fills_up_during_a_build_is_not_its_fault(
    shared: Yard, tmp_path: Path, log: Log
) -> None:
    yard = Yard.make(tmp_path, log=log, like=shared)
    yard.source("big", script("dd if=/dev/zero of=big bs=1M count=90"))
    # Buildroots are made beside where they stay, so that comes first.
    yard.source("small", script("true"))
    yard.build([yard.component("small")])
    with small_disk(yard.workdir.tmp, "48m"):
        result = yard.build([yard.component("big")])
    assert isinstance(result.error(), Trouble)
    assert one(result, "big").trouble
    assert "no space left for" in one(result, "big").message
    assert yard.build([yard.component("big")]).built == ("big",)


@pytest.mark.usefixtures("may_start_again")
def test_an_interruption_stops_all_at_once(yard: Yard) -> None:
    marker = f"7{os.getpid()}"
    yard.source("slow", script(f"sleep {marker}"))
    yard.source("slower", script(f"sleep {marker}"))
    components = [yard.component("slow", depends=()), yard.component("slower", depends=())]

    def is_running() -> bool:
        lines = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(path.read_bytes())
            except (FileNotFoundError, ProcessLookupError):
                continue
        return f"sleep\0{marker}\0".encode() in b" ".join(lines)

    def stop() -> None:
        until = time.monotonic() + 300
        while not is_running() and time.monotonic() < until:
            time.sleep(0.05)
        stopped.append(time.monotonic())
        process.stop_all()

    stopped: list[float] = []
    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Interrupted):
        yard.build(components)
    thread.join()
    assert time.monotonic() - stopped[0] < 60
    assert not is_running()
    assert not list(yard.workdir.tmp.glob("build-*"))


# Logs


def test_warnings_and_deprecations_are_counted_apart(yard: Yard) -> None:
    yard.source(
        "loud",
        {
            "Makefile": "all:\n\t$(CC) $(CFLAGS) -Wall -c x.c\ninstall:\n",
            "x.c": (
                "int old(void) __attribute__((deprecated));\n"
                "int x(void) { int unused; return old(); }\n"
            ),
        },
    )
    loud = one(yard.build([yard.component("loud")]), "loud")
    assert (loud.warnings, loud.deprecations) == (1, 1)
    assert "unused" in yard.text_of("loud", "warnings")
    assert "deprecated" in yard.text_of("loud", "deprecations")
    assert "ostci: installed" in yard.text_of("loud")


# Parts


def test_files_are_sorted_and_settled(yard: Yard) -> None:
    yard.source(
        "all",
        {
            **LIBRARY,
            "extra.sh": (
                "#!/bin/sh\nset -e\nd=$1\n"
                "mkdir -p $d/bin $d/lib $d/etc $d/var/lib/all $d/usr/share/installed-tests/all\n"
                "mkdir -p $d/usr/share/empty $d/opt/all\n"
                "echo x > $d/bin/tool; chmod 4755 $d/bin/tool\n"
                "echo x > $d/bin/other; chmod 6711 $d/bin/other\n"
                "echo x > $d/lib/x.la; echo x > $d/etc/all.conf; chmod 600 $d/etc/all.conf\n"
                "echo x > $d/var/lib/all/state; ln -s state $d/var/lib/all/link\n"
                "echo x > $d/opt/all/file\n"
                "echo x > $d/usr/share/installed-tests/all/a.test\n"
                "ln -s ../usr/lib/there $d/lib/here; mkfifo $d/usr/share/pipe\n"
                "ln -s /etc/passwd $d/usr/share/out\n"
            ),
            "Makefile": LIBRARY["Makefile"] + "\tsh extra.sh $(DESTDIR)\n",
        },
    )
    found = one(yard.build([yard.component("all", setuid=("/usr/bin/tool",))]), "all")
    assert found.outcome is Outcome.BUILT, found.message
    files = yard.files(found)
    lib = "/usr/lib/x86_64-linux-gnu"
    assert files["runtime"] == [
        "/usr/bin/other",
        "/usr/bin/tool",
        "/usr/etc/all.conf",
        "/usr/lib/here",
        "/usr/lib/tmpfiles.d/ostci-all.conf",
        f"{lib}/libhi.so.1",
        f"{lib}/libhi.so.1.0",
        "/usr/share/factory/var/lib/all/state",
        "/usr/share/factory/var/opt/all/file",
        "/usr/share/out",
    ]
    assert files["devel"] == ["/usr/include/hi.h", "/usr/include/other.h", f"{lib}/libhi.so"]
    assert files["doc"] == ["/usr/share/man/man3/hi.3"]
    assert files["tests"] == ["/usr/share/installed-tests/all/a.test"]
    assert len(files["debug"]) == 1 and files["debug"][0].endswith(".debug")
    runtime = found.commits[Part.RUNTIME]
    listed = yard.repo.run("ls", "-R", runtime).text.splitlines()
    modes = {line.split()[4]: tuple(line.split()[:3]) for line in listed}
    assert modes["/usr/bin/tool"] == ("-04755", "0", "0")
    assert modes["/usr/bin/other"] == ("-00755", "0", "0")
    assert modes["/usr/etc/all.conf"] == ("-00644", "0", "0")
    assert "/usr/share/empty" in modes
    lines = yard.repo.read(runtime, "/usr/lib/tmpfiles.d/ostci-all.conf").decode().splitlines()
    assert lines == [
        "C /var/lib/all/state 0644 root root -",
        "C /var/opt/all/file 0644 root root -",
        "L /var/lib/all/link - - - - state",
        "d /var/lib/all 0755 root root -",
        "d /var/opt 0755 root root -",
        "d /var/opt/all 0755 root root -",
    ]
    text = yard.text_of("all", "warnings")
    assert "/usr/share/pipe is no file, directory or link" in text
    assert "/usr/bin/other was setuid or setgid, which the manifest does not grant" in text
    assert "/usr/bin/tool" not in text


def test_debugging_information_lies_under_the_build_id(yard: Yard, tmp_path: Path) -> None:
    yard.source("hi", LIBRARY)
    found = one(yard.build([yard.component("hi")]), "hi")
    for part in (Part.DEBUG, Part.RUNTIME):
        yard.repo.checkout(found.commits[part], tmp_path / "tree", union=True)
    (debug,) = (tmp_path / "tree/usr/lib/debug/.build-id").rglob("*.debug")
    library = tmp_path / "tree/usr/lib/x86_64-linux-gnu/libhi.so.1.0"
    log = Log()
    notes = process.run(["readelf", "--notes", library], log=log).text
    assert f"Build ID: {debug.parent.name}{debug.stem}" in notes
    assert ".debug_info" not in process.run(["readelf", "-SW", library], log=log).text
    lines = process.run(["readelf", "--debug-dump=info", debug], log=log).text
    assert "/usr/src/debug/hi" in lines and "/build/" not in lines


def test_a_file_where_a_directory_is_wanted_is_named(yard: Yard) -> None:
    yard.source(
        "odd",
        script(
            "mkdir -p $(DESTDIR)/lib $(DESTDIR)/usr/lib/x",
            "touch $(DESTDIR)/lib/x $(DESTDIR)/usr/lib/x/y",
        ),
    )
    result = yard.build([yard.component("odd")])
    assert (
        one(result, "odd").message == "/usr/lib/x is installed as a directory and as a file or link"
    )


def test_what_is_the_same_for_all_is_kept_under_noarch(yard: Yard) -> None:
    yard.source("data", script("echo x > $(DESTDIR)/usr/share/data"))
    found = one(yard.build([yard.component("data", noarch=True)]), "data")
    assert found.arch == "noarch"
    ref = component_ref(OSNAME, "data", "noarch", Part.RUNTIME)
    assert yard.repo.resolve(ref) == found.commits[Part.RUNTIME]


@pytest.mark.slow
def test_buildroots_that_nobody_uses_are_removed(yard: Yard) -> None:
    components = []
    for number in range(7):
        yard.source(f"c{number}", script(f"touch $(DESTDIR)/usr/share/c{number}"))
        components.append(yard.component(f"c{number}"))
    assert len(yard.build(components).built) == 7
    left = [path for path in (yard.workdir.cache / "buildroots").iterdir() if path.is_dir()]
    assert len(left) == 4
    yard.repo.fsck()
