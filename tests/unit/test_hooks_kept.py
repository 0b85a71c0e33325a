# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a master keeps of hooks between their answer and the look that passes them."""

from pathlib import Path

from twisted.internet import defer

from pipeline.master.kept import KeptHooks
from pipeline.words.named import Named
from pipeline.words.request import Told


def link(number: int) -> Named:
    return Named(branch="main", before=f"{number:040x}", after=f"{number + 1:040x}")


def loaded(path: Path) -> KeptHooks:
    made = KeptHooks(path, aside=defer.maybeDeferred)
    made.load()
    return made


def names(hooks: KeptHooks) -> list[str]:
    return [one.after for one in hooks.hooks.named("here", hooks.hooks.count)]


def test_what_was_answered_is_there_after_a_kill_until_a_look_passes_it(tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    first = loaded(path)
    for number in range(3):
        first.note("here", named=link(number), told=None)
    assert names(loaded(path)) == []
    first.write()
    second = loaded(path)
    assert names(second) == [link(number).after for number in range(3)]
    second.hooks.looked("here", [link(0).after, link(1).after], {}, 1.0)
    second.forget()
    third = loaded(path)
    assert names(third) == [link(2).after]
    third.hooks.looked("here", [link(2).after], {}, 1.0)
    third.forget()
    # That this server sends hooks is known all the same.
    assert loaded(path).hooks.is_awaited("here", 2.0)


def test_the_same_hook_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    hooks = loaded(path)
    sizes = []
    for _ in range(12):
        for _ in range(500):
            hooks.note("here", named=link(1), told=None)
        hooks.write()
        sizes.append(path.stat().st_size)
    assert max(sizes) < 5000 * 300


def test_what_is_told_of_a_request_is_taken_once_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "hooks"
    hooks = loaded(path)
    told = Told(ref="refs/pull/1/head", is_open=True, is_member=True, when=1.0)
    hooks.note("here", named=None, told=told)
    hooks.write()
    assert not loaded(path).hooks.is_awaited("here", 0.0)
    taken = hooks.take_told()
    assert list(taken.values()) == [told] and hooks.take_told() == {}
    hooks.give_back(taken)
    taken = hooks.take_told()
    newer = Told(ref="refs/pull/1/head", is_open=False, is_member=True, when=2.0)
    hooks.note("here", named=None, told=newer)
    hooks.passed(taken)
    hooks.forget()
    assert list(loaded(path).take_told().values()) == [newer]
