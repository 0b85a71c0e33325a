# SPDX-License-Identifier: LGPL-2.1-or-later
"""When a boot has passed and when it cannot pass any more, by table, recordings and garbage."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words import journal
from pipeline.words.boot import BootWatch, Cause, Expected, State, expected_of
from pipeline.words.errors import BadInput
from pipeline.words.fixture import FIXTURE_KNOWN
from pipeline.words.journal import Entry, parse_entry
from pipeline.words.manifest import KnownMessage, SmokeSpec, Target
from pipeline.words.symptoms import console_text, of_console, still_waiting

UNIT = "multi-user.target"
NO_LOCALE = "Unable to open env file: /etc/default/locale: No such file or directory"
LONG = Expected(unit=UNIT, deadline_s=1000)
EXPECTED = Expected(
    unit=UNIT,
    required={journal.STARTUP_FINISHED: "start-up finished"},
    forbidden={"f0f0": "a session died"},
    known=(KnownMessage(pattern="harmless", reason="it is"),),
    deadline_s=90,
    quiet_s=25,
    blemish_s=2,
)


def entry(message: str = "something", priority: int = 6, pid: str = "1", **fields: str) -> Entry:
    made = {"MESSAGE": message, "PRIORITY": str(priority), "_PID": pid, **fields}
    found = parse_entry(json.dumps(made).encode())
    assert found is not None
    return found


def started(unit: str) -> Entry:
    return entry(f"Started {unit}", MESSAGE_ID=journal.UNIT_STARTED, UNIT=unit)


def unit_failed(unit: str, result: str = "exit-code") -> Entry:
    return entry(
        f"{unit}: Failed with result '{result}'.",
        4,
        MESSAGE_ID=journal.UNIT_FAILED,
        UNIT=unit,
        UNIT_RESULT=result,
    )


def start_failed(unit: str, result: str) -> Entry:
    message = f"Failed to start {unit}."
    return entry(message, 3, MESSAGE_ID=journal.START_FAILED, UNIT=unit, JOB_RESULT=result)


FINISHED = entry("Startup finished in 2s.", MESSAGE_ID=journal.STARTUP_FINISHED)
JOURNAL_STARTED = entry("Journal started", MESSAGE_ID=journal.JOURNAL_STARTED)
REACHED = started(UNIT)
CLEAN = (JOURNAL_STARTED, started("hello.service"), REACHED, FINISHED)


def watch(*events: Entry | bytes | str, expected: Expected = EXPECTED) -> BootWatch:
    """Tell a watch one event a tenth of a second: entries, console lines, ends of the guest."""
    made = BootWatch(expected, 0.0)
    for number, event in enumerate(events):
        now = number / 10
        if isinstance(event, Entry):
            made.entry(event, now)
        elif isinstance(event, bytes):
            made.console(event, now)
        else:
            made.ended(event, now)
    return made


def test_a_clean_boot_passes_as_soon_as_all_was_seen() -> None:
    assert watch(*CLEAN[:-1]).outcome.state is State.PENDING
    passed = watch(*CLEAN)
    assert passed.outcome.state is State.PASSED
    assert passed.marks["reached"] == pytest.approx(0.3)


def test_a_second_start_of_the_journal_is_no_reboot() -> None:
    assert watch(JOURNAL_STARTED, *CLEAN).outcome.state is State.PASSED


def test_a_boot_without_a_wanted_unit_passes_by_its_messages() -> None:
    expected = Expected(unit="", required={journal.STARTUP_FINISHED.upper(): ""})
    assert watch(FINISHED, expected=expected).outcome.state is State.PASSED


AT_ONCE: list[tuple[Cause, Sequence[Entry | bytes | str], str]] = [
    (
        Cause.PANIC,
        [b"[    1.0] Kernel panic - not syncing: sysrq triggered crash\r"],
        "Kernel panic - not syncing: sysrq triggered crash",
    ),
    (
        Cause.INIT_DIED,
        [b"[    1.2][    T1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100"],
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x100",
    ),
    (Cause.INIT_DIED, [b"systemd[1]: Freezing execution."], "systemd[1]: Freezing execution."),
    (
        Cause.NO_INIT,
        [
            b"ostci-initramfs: the tree has no init: /sbin/init is missing or cannot be run",
            b"[ 3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        ],
        "ostci-initramfs: the tree has no init: /sbin/init is missing or cannot be run",
    ),
    (
        Cause.NO_INIT,
        [b"[ 2.2] Kernel panic - not syncing: No working init found.  Try passing init= option"],
        "Kernel panic - not syncing: No working init found.  Try passing init= option",
    ),
    (
        Cause.INITRAMFS,
        [b"ostci-initramfs: root LABEL=ostci did not appear within 20 s; there are: vda"],
        "ostci-initramfs: root LABEL=ostci did not appear within 20 s; there are: vda",
    ),
    (
        Cause.INITRAMFS,
        [b"[ 2.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"],
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ),
    (
        Cause.EMERGENCY,
        [b'You are in emergency mode. After logging in, type "journalctl -xb"'],
        'You are in emergency mode. After logging in, type "journalctl -xb"',
    ),
    (Cause.EMERGENCY, [started("emergency.target")], "Started emergency.target"),
    (
        Cause.EMERGENCY,
        # The start-up may have finished before its shell says so on the console.
        [started("rescue.target"), FINISHED, b"You are in rescue mode. After logging in, type"],
        "Started rescue.target",
    ),
    (
        Cause.POWERED_OFF,
        [b"reboot: Power down", "powered-off"],
        "the guest powered off before the boot was done; the last it said was: reboot: Power down",
    ),
    (Cause.REBOOT_LOOP, ["reboot"], "the guest reset itself before the boot was done"),
    (Cause.PANIC, ["panic"], "the kernel panicked before the boot was done"),
    (
        Cause.TARGET_MISSED,
        [
            unit_failed("a.service"),
            start_failed("a.service", "failed"),
            start_failed(UNIT, "dependency"),
        ],
        f"{UNIT} was not reached (dependency); first: a.service: Failed with result 'exit-code'.",
    ),
    (
        Cause.TARGET_MISSED,
        [FINISHED],
        f"the start-up finished, but {UNIT} was not reached",
    ),
    (
        Cause.FLOOD,
        [b"x" * 1_500_000, b"x" * 1_500_000],
        "the guest wrote 3000002 bytes to its console",
    ),
]


@pytest.mark.parametrize(("cause", "events", "message"), AT_ONCE, ids=lambda one: str(one)[:20])
def test_what_ends_a_boot_for_good_is_told_at_once(
    cause: Cause, events: Sequence[Entry | bytes | str], message: str
) -> None:
    outcome = watch(*events).outcome
    assert (outcome.state, outcome.cause, outcome.message) == (State.FAILED, cause, message)


BLEMISHES: list[tuple[Cause, Sequence[Entry | bytes], str]] = [
    (Cause.FAILED_UNIT, [unit_failed("a.service")], "a.service: Failed with result 'exit-code'."),
    (
        Cause.FAILED_UNIT,
        [entry("cannot open", 3, "77", SYSLOG_IDENTIFIER="a"), unit_failed("a.service")],
        "a.service: Failed with result 'exit-code'.",
    ),
    (
        Cause.START_TIMEOUT,
        [start_failed("dev-vdb.device", "timeout")],
        "dev-vdb.device: Failed to start dev-vdb.device.",
    ),
    (
        Cause.START_TIMEOUT,
        [unit_failed("slow.service", "timeout")],
        "slow.service: Failed with result 'timeout'.",
    ),
    (
        Cause.CORE_DUMP,
        [
            entry(
                "Process 7 (a) of user 0 dumped core.\n\nModule x",
                2,
                "99",
                MESSAGE_ID=journal.CORE_DUMP,
                COREDUMP_COMM="a",
            )
        ],
        "a dumped core: Process 7 (a) of user 0 dumped core.",
    ),
    (Cause.CORE_DUMP, [b"[ 9.1] a[7]: segfault at 0 ip 00"], "a[7]: segfault at 0 ip 00"),
    (
        Cause.OOM_KILL,
        [entry("Out of memory: Killed process 7 (a)", 3, "", SYSLOG_IDENTIFIER="kernel")],
        "Out of memory: Killed process 7 (a)",
    ),
    (
        Cause.OOM_KILL,
        [entry("a.service: killed", 5, MESSAGE_ID=journal.OOM_KILL, UNIT="a.service")],
        "a.service: killed",
    ),
    (
        Cause.FLOOD,
        [entry("Suppressed 7 messages from a.service", 6, MESSAGE_ID=journal.JOURNAL_DROPPED)],
        "Suppressed 7 messages from a.service",
    ),
    (
        Cause.OOPS,
        [b"[    4.0] BUG: kernel NULL pointer dereference, address: 0000000000000000"],
        "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    ),
    (
        Cause.FORBIDDEN,
        [entry("it is gone", 6, "77", MESSAGE_ID="F0F0", SYSLOG_IDENTIFIER="gdm")],
        "a session died: gdm: it is gone",
    ),
    (
        Cause.ERROR_MESSAGE,
        [entry("no teapot", 3, "77", SYSLOG_IDENTIFIER="hello")],
        "hello: no teapot",
    ),
]


@pytest.mark.parametrize(("cause", "events", "message"), BLEMISHES, ids=lambda one: str(one)[:20])
def test_a_blemish_fails_the_boot_after_a_moment_or_when_it_would_pass(
    cause: Cause, events: Sequence[Entry | bytes], message: str
) -> None:
    waited = watch(*events)
    waited.tick(1.9)
    assert waited.outcome.state is State.PENDING
    waited.tick(26.0)
    finished = watch(*events, *CLEAN)
    assert finished.is_complete
    for outcome in (waited.outcome, finished.outcome):
        assert (outcome.state, outcome.cause, outcome.message) == (State.FAILED, cause, message)


def test_a_failed_unit_ends_a_boot_after_a_moment_and_an_error_message_does_not() -> None:
    unit, message = watch(unit_failed("a.service")), watch(entry("no teapot", 3, "77"))
    for made in (unit, message):
        made.tick(2.1)
    assert (unit.outcome.state, message.outcome.state) == (State.FAILED, State.PENDING)


def early(message: str, speaker: str = "systemd", pid: str = "1") -> Entry:
    """Make an entry of the kernel's log, where systemd writes while there is no journal."""
    fields = {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": speaker, "SYSLOG_PID": pid}
    found = parse_entry(json.dumps({"MESSAGE": message, "PRIORITY": "4", **fields}).encode())
    assert found is not None
    return found


def test_a_unit_that_failed_before_there_was_a_journal_has_failed() -> None:
    failed = early("dev-hugepages.mount: Failed with result 'exit-code'.")
    made = watch(failed, *CLEAN)
    assert made.outcome.cause is Cause.FAILED_UNIT
    assert made.outcome.message == failed.message
    assert made.units["dev-hugepages.mount"] == "failed"
    again = watch(failed, started("dev-hugepages.mount"))
    assert again.units["dev-hugepages.mount"] == "started"


@pytest.mark.parametrize(
    "entry",
    [
        early("a.service: Failed with result 'exit-code'.", pid="77"),
        early("a.service: Failed with result 'exit-code'.", speaker="kernel"),
        early("a.service: Deactivated successfully."),
        early("he said: Failed with result 'exit-code'."),
    ],
)
def test_what_else_the_kernel_log_holds_is_no_failed_unit(entry: Entry) -> None:
    made = watch(entry, *CLEAN)
    assert made.outcome.state is State.PASSED
    assert "failed" not in made.units.values()


def test_what_a_blemish_leads_to_explains_more_than_itself() -> None:
    lines = [b"BUG: unable to handle page fault", b"Kernel panic - not syncing: Fatal exception"]
    assert watch(*lines).outcome.cause is Cause.PANIC


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"[ 9.1] a[7]: segfault at 0 ip 00", Cause.CORE_DUMP),
        (b"[ 9.1] Out of memory: Killed process 7 (a)", Cause.OOM_KILL),
    ],
)
def test_why_a_signal_killed_a_unit_is_told_also_when_the_kernel_is_heard_later(
    said: bytes, cause: Cause
) -> None:
    killed = unit_failed("a.service", "signal")
    orders: list[list[Entry | bytes]] = [
        [killed, *CLEAN, said],
        [CLEAN[0], killed, *CLEAN[1:], said],
        [said, killed],
    ]
    for events in orders:
        made = watch(*events)
        made.tick(2.5)
        assert made.outcome.cause is cause
        assert made.outcome.message == said.decode().removeprefix("[ 9.1] ")


def test_a_unit_that_a_signal_killed_and_nobody_says_why_has_failed() -> None:
    made = watch(unit_failed("a.service", "signal"), *CLEAN)
    assert made.outcome.state is State.PENDING
    made.tick(2.1)
    assert made.outcome.cause is Cause.FAILED_UNIT


def test_a_unit_that_ended_badly_is_not_explained_by_what_crashes_beside_it() -> None:
    made = watch(unit_failed("a.service"), b"[ 9.1] b[7]: segfault at 0 ip 00", *CLEAN)
    assert made.outcome.cause is Cause.FAILED_UNIT


@pytest.mark.parametrize(
    "event",
    [
        entry("harmless teapot", 3, "77"),
        entry("no teapot", 4, "77"),
        unit_failed("harmless.service"),
        entry("forged", 4, "77", MESSAGE_ID=journal.UNIT_FAILED, UNIT="a.service"),
        b"all is well, no Kernel panic - not syncing: here",
        b"harmless[7]: segfault at 0",
        b"\x1b[0;32m  OK  \x1b[0m] Reached target",
    ],
)
def test_what_is_known_or_fine_is_no_symptom(event: Entry | bytes) -> None:
    passed = watch(event, *CLEAN)
    assert passed.outcome.state is State.PASSED
    assert passed.symptoms == []


def test_a_keyboard_of_ours_that_answers_late_is_no_fault_of_the_tree() -> None:
    late = "atkbd serio0: Failed to enable keyboard on isa0060/serio0"
    assert watch(entry(late, 3, "", SYSLOG_IDENTIFIER="kernel"), *CLEAN).symptoms == []
    assert watch(entry(late, 3, "77"), *CLEAN).symptoms != [], "a service only says so"


@pytest.mark.parametrize(
    ("speaker", "message", "is_known"),
    [
        ("login", f"pam_env(login:session): {NO_LOCALE}", True),
        ("greetd", f"pam_env(greetd-greeter:session): {NO_LOCALE}", True),
        ("gdm-autologin]", f"pam_env(gdm-autologin:session): {NO_LOCALE}", True),
        ("gdm-autologin]", "gkr-pam: couldn't unlock the login keyring.", True),
        ("gdm-password]", "gkr-pam: couldn't run gnome-keyring-daemon: No such file", False),
        ("sshd", f"pam_env(sshd:session): {NO_LOCALE}", False),
    ],
)
def test_what_the_logins_of_the_fixture_miss_is_no_fault_of_the_tree(
    speaker: str, message: str, is_known: bool
) -> None:
    said = entry(message, 3, "77", SYSLOG_IDENTIFIER=speaker)
    watched = watch(said, *CLEAN, expected=replace(EXPECTED, known=FIXTURE_KNOWN))
    assert (watched.symptoms == []) is is_known


def test_what_is_known_does_not_excuse_a_panic() -> None:
    text = "Kernel panic - not syncing: harmless"
    of_kernel = entry(text, 0, "", SYSLOG_IDENTIFIER="kernel")
    assert watch(text.encode()).outcome.cause is Cause.PANIC
    assert watch(of_kernel).outcome.cause is Cause.PANIC


def test_silence_is_a_hang_long_before_the_deadline() -> None:
    made = watch(JOURNAL_STARTED)
    made.tick(24.9)
    assert made.outcome.state is State.PENDING
    made.tick(25.1)
    assert made.outcome.cause is Cause.HANG
    assert (
        made.outcome.message == "nothing was heard for 25 s; the last was: unknown: Journal started"
    )


def test_a_guest_is_not_late_for_what_the_host_kept_it_waiting() -> None:
    quiet = watch(JOURNAL_STARTED, expected=EXPECTED)
    quiet.starved(20.0)
    quiet.tick(44.9)
    assert quiet.outcome.state is State.PENDING
    quiet.tick(45.1)
    assert quiet.outcome.cause is Cause.HANG
    assert "nothing was heard for 25 s" in quiet.outcome.message
    late = watch(JOURNAL_STARTED, expected=replace(EXPECTED, quiet_s=1000))
    late.starved(20.0)
    late.tick(109.9)
    assert late.outcome.state is State.PENDING
    late.tick(110.1)
    assert late.outcome.cause is Cause.DEADLINE


def test_what_follows_a_blemish_and_an_end_is_waited_for_on_a_busy_host_too() -> None:
    blemish = watch(unit_failed("a.service"))
    settling = watch(*CLEAN, expected=replace(EXPECTED, settle_s=2))
    for one in (blemish, settling):
        one.starved(20.0)
        one.tick(21.0)
        assert one.outcome.state is State.PENDING
        one.tick(23.0)
    assert blemish.outcome.cause is Cause.FAILED_UNIT
    assert settling.outcome.state is State.PASSED


def test_a_guest_that_never_said_anything_hangs_too() -> None:
    made = watch()
    made.tick(26)
    assert made.outcome.message == "nothing was heard for 26 s; it never said anything"


def test_an_animation_is_no_progress_but_says_what_is_waited_for() -> None:
    made = watch(JOURNAL_STARTED)
    for second in range(1, 27):
        stars = "\r\x1b[K[\x1b[0;31m*     \x1b[0m]"
        line = f"{stars} A start job is running for dev-vdb ({second}s / 1min 30s)"
        made.console(line.encode(), float(second))
    assert made.outcome.cause is Cause.HANG
    assert "while it waits for dev-vdb" in made.outcome.message


def test_a_guest_that_only_talks_meets_the_deadline() -> None:
    made = watch(JOURNAL_STARTED)
    for second in range(1, 92):
        made.entry(entry("still here"), float(second))
    assert made.outcome.cause is Cause.DEADLINE
    assert made.outcome.message.startswith("multi-user.target was not reached within 90 s")


def test_required_messages_that_do_not_come_are_named() -> None:
    expected = Expected(unit=UNIT, required={"abcd": "a greeting"}, quiet_s=25)
    made = watch(*CLEAN, expected=expected)
    assert made.outcome.state is State.PENDING
    made.tick(26)
    assert made.outcome.cause is Cause.MISSING
    assert made.outcome.message.endswith("a greeting (abcd)")


def test_a_journal_beyond_all_bounds_is_a_flood_also_without_an_entry() -> None:
    made = watch(JOURNAL_STARTED)
    made.received(64 * 1024**2, 1.0)
    assert made.outcome.state is State.PENDING
    made.received(64 * 1024**2 + 1, 1.0)
    assert (made.outcome.cause, made.outcome.message) == (
        Cause.FLOOD,
        "the guest wrote 67108865 bytes to its journal",
    )


def test_after_a_pass_the_decision_stands_and_symptoms_are_kept() -> None:
    made = watch(*CLEAN, unit_failed("late.service"), "powered-off")
    assert made.outcome.state is State.PASSED
    assert [one.cause for one in made.symptoms] == [Cause.FAILED_UNIT, Cause.POWERED_OFF]
    assert made.final is not None
    assert "in a test" in made.final.message


def test_an_end_that_was_asked_for_is_no_failure() -> None:
    made = watch(*CLEAN)
    made.is_leaving = True
    made.ended("powered-off", 9.0)
    assert made.final is None


def test_only_the_first_process_says_that_the_start_up_has_finished() -> None:
    forged = entry("Startup finished", pid="77", MESSAGE_ID=journal.STARTUP_FINISHED)
    assert watch(*CLEAN[:-1], forged).outcome.state is State.PENDING


def test_a_thousand_messages_hide_no_panic() -> None:
    errors = [entry(f"no teapot {number}", 3, "77") for number in range(1000)]
    made = watch(*errors, b"Kernel panic - not syncing: at last", expected=LONG)
    assert made.outcome.cause is Cause.PANIC


def test_a_failure_that_is_known_is_excused_by_name() -> None:
    made = watch(unit_failed("harmless.service"), unit_failed("other.service"))
    assert made.excused == {"harmless.service"}


def test_a_boot_that_is_to_settle_is_watched_on() -> None:
    expected = replace(EXPECTED, settle_s=5.0)
    made = watch(*CLEAN, expected=expected)
    assert made.marks["reached"] == pytest.approx(0.3)
    states = []
    for now in (0.4, 5.2, 5.4):
        made.tick(now)
        states.append(made.outcome.state)
    assert states == [State.PENDING, State.PENDING, State.PASSED]
    for late, cause in ((unit_failed("late.service"), Cause.FAILED_UNIT), ("panic", Cause.PANIC)):
        made = watch(*CLEAN, late, expected=expected)
        made.tick(5.4)
        assert made.outcome.cause is cause


WANTS = replace(
    EXPECTED,
    required_units=("sshd.service",),
    forbidden_units=frozenset({"telnet.service"}),
    required_console={"^hello": "a greeting"},
    forbidden_console={r"\bpassword\b": "a secret"},
)


def test_units_and_lines_of_the_console_are_waited_for() -> None:
    made = watch(*CLEAN, expected=WANTS)
    before = made.outcome.state
    assert before is State.PENDING
    assert set(made.missing()) == {"sshd.service", "^hello"}
    made.entry(started("sshd.service"), 1.0)
    made.console(b"[    2.000000] \x1b[1mhello\x1b[0m", 1.1)
    assert made.missing() == {"^hello": "a greeting"}, "a line begins where it begins"
    made.console(b"\x1b[1mhello\x1b[0m there", 1.2)
    assert made.outcome.state is State.PASSED


def test_what_is_required_and_does_not_come_is_named() -> None:
    made = watch(*CLEAN, expected=WANTS)
    made.tick(100.0)
    assert made.outcome.cause is Cause.MISSING
    named = "a unit that has to start (sshd.service), a greeting (^hello)"
    assert made.outcome.message.endswith(f": {named}")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (started("telnet.service"), "telnet.service was started"),
        (b"the password is 1234", "a secret: the password is 1234"),
    ],
)
def test_a_unit_or_a_line_that_is_forbidden_fails_the_boot(
    event: Entry | bytes, message: str
) -> None:
    wants = replace(WANTS, required_units=(), required_console={})
    made = watch(event, *CLEAN, expected=wants)
    assert (made.outcome.cause, made.outcome.message) == (Cause.FORBIDDEN, message)


def test_a_line_of_the_console_that_is_no_pattern_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"console line '\(': missing \)"):
        BootWatch(replace(EXPECTED, required_console={"(": ""}), 0.0)


def test_a_known_message_that_is_no_pattern_is_bad_input() -> None:
    expected = Expected(unit=UNIT, known=(KnownMessage(pattern="(", reason=""),))
    with pytest.raises(BadInput, match=r"known message '\(': missing \)"):
        BootWatch(expected, 0.0)


def test_deadlines_are_stretched_by_the_speed_of_the_host() -> None:
    target = Target(name="t", smoke=SmokeSpec(deadline_s=40, settle_s=3))
    fast, slow = expected_of(target, 1.0), expected_of(target, 10.0)
    assert (fast.deadline_s, slow.deadline_s) == (40, 400)
    assert (fast.settle_s, slow.settle_s) == (3, 30)
    assert (fast.quiet_s, slow.quiet_s) == (10, 100)
    assert slow.required == {journal.STARTUP_FINISHED: "start-up finished"}


def test_a_target_may_ask_for_a_unit_of_its_own() -> None:
    target = Target(name="t", smoke=SmokeSpec(unit="graphical.target"))
    assert expected_of(target, 1.0).unit == "graphical.target"


_EVENTS = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.dictionaries(
            st.sampled_from(["MESSAGE", "MESSAGE_ID", "UNIT", "PRIORITY", "_PID", "JOB_RESULT"]),
            st.sampled_from(["1", "3", UNIT, journal.UNIT_FAILED, journal.START_FAILED, "x"])
            | st.text(max_size=30),
        ),
        st.sampled_from(["powered-off", "reboot", "panic", "nonsense"]),
    ),
    max_size=12,
)


@given(_EVENTS)
def test_no_guest_makes_the_watch_raise_and_each_boot_is_decided(events: list[object]) -> None:
    made = BootWatch(EXPECTED, 0.0)
    for number, event in enumerate(events):
        if isinstance(event, bytes):
            made.console(event, float(number))
        elif isinstance(event, str):
            made.ended(event, float(number))
        elif (found := parse_entry(json.dumps(event).encode())) is not None:
            made.entry(found, float(number))
    made.tick(1000.0)
    assert made.outcome.state is not State.PENDING
    assert (made.outcome.cause is None) == (made.outcome.state is State.PASSED)


@given(st.binary())
def test_no_console_line_raises(line: bytes) -> None:
    text = console_text(line)
    of_console(text)
    still_waiting(text)
    assert "\x1b" not in text or "\x1b" not in text.encode().decode("unicode_escape", "ignore")


# Recorded from real boots: what went to the console and the journal's lines, cut where it is long.
RECORDED = Path(__file__).parents[1] / "data" / "boots"
EXPECTATIONS = json.loads((RECORDED / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_a_recorded_boot_is_judged_as_it_was(name: str) -> None:
    expected = EXPECTATIONS[name]
    made = BootWatch(Expected(unit=UNIT, required={journal.STARTUP_FINISHED: ""}), 0.0)
    for number, line in enumerate((RECORDED / f"{name}.console").read_bytes().split(b"\n")):
        made.console(line, number / 1e4)
    for line in (RECORDED / f"{name}.journal").read_bytes().split(b"\n"):
        found = parse_entry(line)
        if found is not None:
            made.entry(found, 1.0)
    if expected.get("ended"):
        made.ended(expected["ended"], 1.0)
    made.tick(80.0)
    assert (made.outcome.cause or "") == expected["cause"]
    assert expected["message"] in made.outcome.message
