# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is within the walls stays there: hostile programs against the real sandbox."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import sandbox, trees
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.sandbox import Opens, Walls
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Limits

MIB = 1024**2
LIMITS = Limits(time_s=200, memory=256 * MIB, processes=100, output=32 * MIB)
AFTER_S = 50.0
"""A limit must have stopped everything within this time: what it stops would take a minute."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def make_tree(top: Path) -> Path:
    """Make the smallest tree that a shell runs in."""
    (top / "usr/bin").mkdir(parents=True)
    (top / "usr/etc").mkdir()
    (top / "usr/share").mkdir()
    (top / "usr/share/shared").write_text("of the tree\n")
    (top / "usr/etc/name").write_text("the tree's\n")
    (top / "bin").symlink_to("usr/bin")
    shutil.copy("/usr/bin/busybox", top / "usr/bin/busybox")
    listed = subprocess.run(["/usr/bin/busybox", "--list"], capture_output=True, check=True)
    for name in listed.stdout.decode().split():
        if name != "busybox":
            (top / "usr/bin" / name).symlink_to("busybox")
    return top


@pytest.fixture(scope="session")
def plain_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not Path("/usr/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    return make_tree(tmp_path_factory.mktemp("plain") / "tree")


@pytest.fixture
def tree(plain_tree: Path, repo: Repo, tmp_path: Path) -> Path:
    """A checkout that is hardlinked to ``repo``."""
    repo.checkout(repo.commit_dir(plain_tree, subject="tree"), tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A directory that is writable as ``/room``."""
    path = tmp_path / "room"
    path.mkdir()
    return path


Shell = Callable[..., str]


@pytest.fixture
def shell(tree: Path, room: Path, log: Log) -> Shell:
    """Run a script within walls; its output."""

    def run(script: str, *, limits: Limits = LIMITS, **options: object) -> str:
        walls = Walls(root=tree, writable={"/room": room}, limits=limits)
        merged = {"merge": True, **options}
        return sandbox.run(walls, ["sh", "-c", script], log=log, **merged).text  # type: ignore[arg-type]

    return run


def processes_with(word: str) -> list[str]:
    """List the command lines of all processes on this machine that contain a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in line:
            found.append(line)
    return found


def test_the_tree_is_all_that_is_seen(shell: Shell) -> None:
    assert shell("ls /").split() == [
        "bin",
        "dev",
        "etc",
        "proc",
        "room",
        "run",
        "tmp",
        "usr",
        "var",
    ]
    assert shell("cat /etc/name /usr/share/shared") == "the tree's\nof the tree"
    assert shell("ls /tmp /var /run | grep -v :") == ""


def test_identity_and_environment_are_fixed(shell: Shell) -> None:
    assert shell("id -u; id -g; hostname; pwd").split() == ["1000", "1000", "ostci", "/"]
    names = [line.partition("=")[0] for line in shell("env | sort").splitlines()]
    assert names == ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "SHLVL", "TZ", "USER"]


def test_no_capability_and_no_namespace_can_be_had(shell: Shell) -> None:
    assert set(shell("grep ^Cap /proc/self/status | cut -f2").split()) == {"0" * 16}
    assert shell("unshare -r true 2>&1 || echo refused").endswith("refused")
    assert shell("mount -t tmpfs none /tmp 2>&1 || echo refused").endswith("refused")


def test_dangerous_calls_are_refused_by_a_filter(shell: Shell) -> None:
    assert "Seccomp:\t2" in shell("cat /proc/self/status")


def test_what_is_written_in_the_room_stays(shell: Shell, room: Path) -> None:
    shell("echo kept > /room/file; mkdir /room/sub; echo more > /room/sub/file")
    assert (room / "file").read_text() == "kept\n"
    assert (room / "sub/file").read_text() == "more\n"


@as_root
def test_root_becomes_another_user_outside(shell: Shell, room: Path) -> None:
    shell("touch /room/file")
    assert sandbox.FIRST_USER <= (room / "file").stat().st_uid < sandbox.FIRST_USER + sandbox.USERS


@as_root
def test_no_two_sandboxes_have_the_same_user() -> None:
    with sandbox._own_user() as first, sandbox._own_user() as second:
        assert first is not None and second is not None and first != second


@pytest.mark.parametrize(
    "place",
    ["/usr/share/shared", "/usr/new", "/etc/name", "/etc/new", "/new", "/dev/new", "/bin/sh"],
)
def test_nothing_else_can_be_written(shell: Shell, repo: Repo, place: str) -> None:
    script = f"echo evil > {place} || echo evil >> {place} || rm {place} || echo refused"
    assert shell(f"({script}) 2>/dev/null") == "refused"
    repo.fsck()


def test_there_is_no_network(shell: Shell) -> None:
    assert shell(
        "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1"
    ).split() == ["lo"]
    with pytest.raises(Failed, match="Network is unreachable"):
        shell("nc -w 3 192.0.2.1 80")


def test_a_socket_of_the_host_cannot_be_reached(shell: Shell) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        name = f"ostci-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.listen()
        # Names of this kind lie in the network's namespace, not in the file system.
        assert name not in shell("cat /proc/net/unix")


def test_host_processes_are_not_seen(shell: Shell) -> None:
    numbers = shell("ls /proc | grep '^[0-9]*$'").split()
    assert "1" in numbers and len(numbers) <= 5
    assert shell("kill -9 -1; kill -9 1; echo alive").endswith("alive")


HOSTILE = {
    "forks without end": ("f() { f | f & }; f; sleep 60", "used more than 100 processes"),
    "waits for ever": ("sleep 60", "did not end within 2 s"),
    "waits with everything closed": (
        "exec >&- 2>&- </dev/null; sleep 60",
        "did not end within 2 s",
    ),
    "fills the disk": ("dd if=/dev/zero of=/room/big bs=1M count=9000", "wrote more than 32 MiB"),
    "fills the disk with small files": (
        "i=0; while :; do i=$((i+1)); : > /room/$i; done",
        "wrote more than 32 MiB",
    ),
    "fills the disk by a hole": ("truncate -s 32M /room/hole", "wrote more than 32 MiB"),
    "takes all memory": (
        # Each stays below what one process may have; only together they take too much.
        "for i in 1 2 3 4; do dd if=/dev/zero bs=90M count=9999 of=/dev/null & done; wait",
        "used more than 256 MiB of memory",
    ),
    "prints without end": ("yes", "printed more than 128 MiB"),
    "nests directories without end": (
        "i=0; while [ $i -lt 300 ]; do i=$((i+1)); mkdir -p d; cd d; done; sleep 60",
        "nested directories deeper than 200",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_limit_stops_everything_and_is_named(
    shell: Shell, room: Path, repo: Repo, log: Log, name: str
) -> None:
    script, reason = HOSTILE[name]
    marker = f"ostci-hostile-{os.getpid()}"
    limits = replace(LIMITS, time_s=2) if "waits" in name else LIMITS
    started = time.monotonic()
    with pytest.raises(Failed) as caught:
        shell(f": {marker}; cd /room; {script}", limits=limits, ok=())
    assert caught.value.what == f"the build {reason}"
    assert time.monotonic() - started < AFTER_S + (limits.time_s if "waits" in name else 0)
    assert processes_with(f"{marker};") == []
    repo.fsck()
    trees.remove(room, log=log)
    assert not room.exists()


def test_a_program_below_its_limits_is_left_alone(shell: Shell) -> None:
    script = (
        "dd if=/dev/zero of=/room/some bs=1M count=8; for i in 1 2 3; do sleep 0.2 & done; wait"
    )
    shell(script)


def test_a_daemon_that_was_left_behind_is_dead(shell: Shell) -> None:
    marker = f"4{os.getpid()}"
    started = time.monotonic()
    out = shell(f"setsid sh -c 'exec >/room/open; sleep {marker}' & echo done")
    assert out == "done"
    assert time.monotonic() - started < AFTER_S
    assert processes_with(f"sleep {marker} ") == []


def test_a_daemon_that_holds_the_output_open_is_not_waited_for(shell: Shell) -> None:
    started = time.monotonic()
    assert shell("setsid sleep 60 & echo done") == "done"
    assert time.monotonic() - started < AFTER_S


def test_nothing_outlives_a_killed_pipeline(tree: Path) -> None:
    marker = f"5{os.getpid()}"
    script = (
        "import sys; from pathlib import Path; from pipeline.ports import sandbox;"
        "from pipeline.ports.log import Log;"
        f"sandbox.run(sandbox.Walls(root=Path({str(tree)!r})), ['sleep', '{marker}'], log=Log())"
    )
    driver = subprocess.Popen([sys.executable, "-c", script])
    until = time.monotonic() + 300
    while not processes_with(f"sleep {marker} ") and time.monotonic() < until:
        time.sleep(0.02)
    assert processes_with(f"sleep {marker} ")
    driver.kill()
    driver.wait()
    until = time.monotonic() + AFTER_S
    while processes_with(f"sleep {marker} ") and time.monotonic() < until:
        time.sleep(0.02)
    assert processes_with(f"sleep {marker} ") == []


def test_no_control_group_is_left(shell: Shell) -> None:
    shell("true")
    # Others come and go meanwhile.
    groups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    assert not [name for name in groups if name.startswith(f"ostci-{os.getpid()}-")]


def test_a_failing_program_is_told_with_its_last_lines(shell: Shell) -> None:
    with pytest.raises(Failed) as caught:
        shell("echo one; echo 'the reason'; exit 7")
    assert caught.value.what == "the build ended with exit code 7; one; the reason"
    assert shell("echo fine; exit 7", ok=(7,)) == "fine"


def test_lines_come_in_order_and_are_not_endless(shell: Shell) -> None:
    lines: list[str] = []
    shell("echo one; echo two >&2; echo three; head -c 200000 /dev/zero", on_line=lines.append)
    assert lines[:3] == ["one", "two", "three"]
    assert max(map(len, lines)) < 150_000


def test_programs_get_the_signals_that_python_ignores(shell: Shell) -> None:
    assert shell("(yes; echo $? >&2) | head -n 1; wait").splitlines() == ["y", "141"]


def test_a_tree_without_usr_is_trouble(tmp_path: Path, log: Log) -> None:
    with pytest.raises(Trouble, match="no checked-out tree"):
        sandbox.run(Walls(root=tmp_path), ["true"], log=log)


def test_a_sandbox_that_cannot_be_made_is_trouble(tree: Path, log: Log, tmp_path: Path) -> None:
    walls = Walls(root=tree, readonly={"/usr/no/such/place": tmp_path})
    with pytest.raises(Trouble, match=r"no sandbox can be made; bwrap: .*/usr/no/such"):
        sandbox.run(walls, ["true"], log=log)


# What others put in the room


def test_a_file_with_a_name_elsewhere_is_copied_before_it_is_writable(
    shell: Shell, room: Path, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    mirror.write_text("of the mirror")
    os.link(mirror, room / "file")
    shell("chmod u+w /room/file; echo evil > /room/file")
    assert mirror.read_text() == "of the mirror"
    assert (room / "file").read_text() == "evil\n"


@as_root
def test_links_are_not_followed_when_the_room_is_handed_over(
    shell: Shell, room: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("host's")
    (room / "way-out").symlink_to(outside)
    (room / "file").symlink_to(outside / "file")
    shell("true")
    assert (outside.stat().st_uid, (outside / "file").stat().st_uid) == (0, 0)
    assert trees.size_of([room], enough=MIB) < 10 * 4096


# Which files were opened


def test_opened_files_are_told(shell: Shell) -> None:
    opened = Opens()
    shell("cat /usr/share/shared >/dev/null; cat /etc/name; ls /usr/share", opened=opened)
    assert opened.complete
    assert opened.paths == {"/usr/bin/busybox", "/usr/share/shared", "/usr/etc/name"}


def test_each_sandbox_is_told_only_its_own_opens(tree: Path, log: Log) -> None:
    first, second = Opens(), Opens()
    sandbox.run(Walls(root=tree), ["true"], log=log, opened=first)
    sandbox.run(Walls(root=tree), ["cat", "/etc/name"], log=log, opened=second)
    assert first.paths == {"/usr/bin/busybox"}
    assert "/usr/etc/name" in second.paths


def test_what_was_never_watched_is_not_complete() -> None:
    opened = Opens()
    assert not opened.complete  # nothing was watched yet, so anything may have been opened


# Over a tree


def test_changes_to_a_tree_land_in_the_upper_layer(
    tree: Path, repo: Repo, tmp_path: Path, log: Log
) -> None:
    upper, work = tmp_path / "over/upper", tmp_path / "over/work"
    upper.mkdir(parents=True)
    work.mkdir()
    script = (
        "id -u; echo new > /usr/share/new; echo changed >> /etc/name; rm /usr/bin/yes;"
        "echo lost > /tmp/x; echo lost > /var/x"
    )
    done = sandbox.run_over(Walls(root=tree), tree, upper, work, ["sh", "-c", script], log=log)
    assert done.text == "0"
    assert (upper / "usr/share/new").read_text() == "new\n"
    assert (upper / "usr/etc/name").read_text() == "the tree's\nchanged\n"
    assert sandbox.read_upper(upper).deleted == ("/usr/bin/yes",)
    files = sorted(str(path.relative_to(upper)) for path in upper.rglob("*") if path.is_file())
    assert files == ["usr/etc/name", "usr/share/new"]
    assert (upper / "usr/share/new").stat().st_uid == os.geteuid()
    assert (tree / "usr/bin/yes").is_symlink()
    assert (tree / "usr/etc/name").read_text() == "the tree's\n"
    repo.fsck()


def test_a_directory_that_was_replaced_is_told(tree: Path, tmp_path: Path, log: Log) -> None:
    upper, work = tmp_path / "over/upper", tmp_path / "over/work"
    upper.mkdir(parents=True)
    work.mkdir()
    script = "rm -r /usr/share; mkdir /usr/share; echo x > /usr/share/other"
    sandbox.run_over(Walls(root=tree), tree, upper, work, ["sh", "-c", script], log=log)
    assert sandbox.read_upper(upper) == sandbox.Upper(deleted=(), replaced=("/usr/share",))


def test_limits_hold_over_a_tree_too(tree: Path, tmp_path: Path, log: Log) -> None:
    upper, work = tmp_path / "over/upper", tmp_path / "over/work"
    upper.mkdir(parents=True)
    work.mkdir()
    walls = Walls(root=tree, limits=LIMITS)
    with pytest.raises(Failed, match="the trigger used more than 100 processes"):
        argv = ["sh", "-c", "f() { f | f & }; f; sleep 60"]
        sandbox.run_over(walls, tree, upper, work, argv, log=log, what="the trigger")
    with pytest.raises(Failed, match="the trigger wrote more than 32 MiB"):
        argv = ["sh", "-c", "while :; do head -c 1000000 /dev/zero >> /usr/big; done"]
        sandbox.run_over(walls, tree, upper, work, argv, log=log, what="the trigger")


@as_root
def test_an_ordinary_user_gets_the_same_walls() -> None:
    """Runs this file's own tests again as nobody in particular."""
    user, place = 54321, Path(tempfile.mkdtemp(prefix="ostci-user-", dir="/tmp"))
    os.chown(place, user, user)
    tests = "tree_is_all or limit_stops or land_in_the_upper or opened_files or daemon or network"
    argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable]
    argv += ["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", tests]
    try:
        env = {"HOME": str(place), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        argv.append(f"--basetemp={place}/t")
        top = Path(__file__).parents[2]
        done = subprocess.run(
            argv, cwd=top, env=env, capture_output=True, text=True, timeout=1800, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        shutil.rmtree(place)
