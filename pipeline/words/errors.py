# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a run can end, and whose fault it is.

Every ending is one of these classes; anything else that is raised is our own bug (exit 70).
Only the CLI turns them into exit codes; everybody else raises them or lets them pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EXIT_PASSED = 0
EXIT_BUG = 70


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in what a person wrote.

    ``place`` is ``file:line:column`` where that is known, else a path such as ``targets.runtime``.
    """

    place: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}, {self.hint}" if self.hint else text


class Ending(Exception):
    """A known way in which a run ends without passing.

    ``where`` names the stage, component or file; ``hint`` says what to do next, best a command
    that can be pasted.
    """

    exit_code = EXIT_BUG
    title = "error"

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class Failed(Ending):
    """The code under test does not build, compose, boot or pass."""

    exit_code = 1
    title = "failed"


class BadInput(Ending):
    """A manifest or a command line is wrong; carries every problem, not only the first."""

    exit_code = 2
    title = "bad input"

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        hint: str = "",
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [super().__str__()] if not self.problems else []
        return "\n".join([*lines, *map(str, self.problems)])


class Trouble(Ending):
    """Our machines, not the code under test: disk full, no hypervisor, git server gone."""

    exit_code = 3
    title = "trouble"


class Interrupted(Ending):
    """Somebody, or something newer, stopped it."""

    exit_code = 130
    title = "interrupted"


_WORST_FIRST = (EXIT_BUG, Interrupted.exit_code, Trouble.exit_code, BadInput.exit_code, 1)


def exit_code_of(error: BaseException | None) -> int:
    """Tell the exit code that an ending stands for; ``None`` is a pass."""
    if error is None:
        return EXIT_PASSED
    if isinstance(error, Ending):
        return error.exit_code
    return Interrupted.exit_code if isinstance(error, KeyboardInterrupt) else EXIT_BUG


def worst(errors: Iterable[BaseException]) -> BaseException | None:
    """Choose the error that decides the exit code of several: 70 > 130 > 3 > 2 > 1."""
    ranked = sorted(errors, key=lambda error: _WORST_FIRST.index(exit_code_of(error)))
    return ranked[0] if ranked else None
