# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of ``ostci``: their options, their help, and where their work is done."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.cli.host_verbs import HOST_VERBS
from pipeline.cli.verb_options import (
    Parser,
    Verb,
    json_option,
    no_options,
    run_option,
    try_options,
    wait_option,
)
from pipeline.cli.worker_verbs import WORKER_VERBS


def build_parser(version: str) -> Parser:
    """Build the parser; each verb's namespace has a ``handler``."""
    parser = Parser(
        prog="ostci",
        description="Continuous integration for whole operating systems.",
        epilog="first steps: ostci doctor; ostci init work manifests/tiny.yaml; "
        "ostci -C work run. Exit codes: 0 passed, 1 the code under test failed, 2 bad input, "
        "3 trouble with this machine, 70 a bug of ours, 130 stopped.",
    )
    parser.add_argument("--version", action="version", version=f"ostci {version}")
    parser.add_argument(
        "-C", "--workdir", type=Path, metavar="DIR", help="the work directory (else $OSTCI_WORKDIR)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="details too, every command")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=_Late)
    for name, module, words, example, options in VERBS:
        verbs.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=f"example: {example}",
            options=options,
            handler=_late(module, name),
        )
    return parser


class _Late(Parser):
    """The parser of a verb, made when the verb is given: all of them take as long as Python."""

    def __init__(self, *, options: Callable[[Parser], None], handler: object, **given: Any) -> None:
        self._options, self._handler, self._given = options, handler, given

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the words of the verb."""
        super().__init__(**self._given)
        self._options(self)
        self.set_defaults(handler=self._handler)
        return super().parse_known_args(args, namespace)


def _late(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    def handler(options: argparse.Namespace) -> int:
        found = importlib.import_module(f"pipeline.cli.{module}")
        handle: Callable[[argparse.Namespace], int] = getattr(found, f"do_{name}")
        return handle(options)

    return handler


def _init(parser: Parser) -> None:
    parser.add_argument("directory", type=Path)
    parser.add_argument("manifest", type=Path)


def _check(parser: Parser) -> None:
    parser.add_argument("manifest", type=Path, nargs="?", help="the work directory's by default")
    json_option(parser)


def _base(parser: Parser) -> None:
    _stage(parser)
    parser.add_argument("--refresh", action="store_true", help="ask the mirrors anew")


def _stage(parser: Parser) -> None:
    run_option(parser)
    wait_option(parser)
    json_option(parser)


def _resolve(parser: Parser) -> None:
    parser.add_argument(
        "--fetch",
        default="all",
        metavar="all|none|NAME,NAME",
        help="which components' repositories to look at",
    )
    parser.add_argument(
        "--push",
        type=int,
        metavar="ID",
        help="make the run of a push: the snapshot before it with just that moved",
    )
    _overrides(parser)
    _stage(parser)


def _overrides(parser: Parser) -> None:
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="take a component from a working copy",
    )


def _force(parser: Parser) -> None:
    parser.add_argument(
        "--force", action="append", default=[], metavar="NAME", help="build it in any case"
    )


def _plan(parser: Parser) -> None:
    run_option(parser)
    json_option(parser)
    parser.add_argument("--resolve", action="store_true", help="resolve first, as a run would")


def _build(parser: Parser) -> None:
    parser.add_argument(
        "component", nargs="*", help="only these, beside others of the same run (all that is left)"
    )
    _force(parser)
    parser.add_argument(
        "--retry", action="store_true", help="also what was built by name in this run and failed"
    )
    _stage(parser)


def _targets(parser: Parser) -> None:
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME",
        help="only this target; runtime+strace and runtime+@group work too",
    )
    _stage(parser)


def _last(parser: Parser) -> None:
    parser.add_argument(
        "--end", action="store_true", help="give the run its ending, too, where this passes"
    )
    _stage(parser)


def _disk(parser: Parser) -> None:
    parser.add_argument("tree", nargs="*", help="trees such as x86_64-runtime (all of the run)")
    parser.add_argument(
        "--full", action="store_true", help="make it anew, not as a layer on another tree's disk"
    )
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="copy it from here where it is there already"
    )
    _targets(parser)


def _version(parser: Parser) -> None:
    parser.add_argument("version", help="the run, such as 20261124.0")
    wait_option(parser)
    json_option(parser)


def _end(parser: Parser) -> None:
    _version(parser)
    parser.add_argument("--message", default="", metavar="TEXT", help="why, instead of the stages")


def _cancel(parser: Parser) -> None:
    _version(parser)
    parser.add_argument("--by", default="somebody", metavar="WHO", help="who wants it")


def _test(parser: Parser) -> None:
    parser.add_argument("tree", nargs="?", help="a tree such as x86_64-runtime (all of the run)")
    parser.add_argument("only", nargs="?", metavar="suite", help="the suite (--suite), or all")
    parser.add_argument("--suite", help="the suite (those that the gate wants)")
    _stage(parser)


def _reproduce(parser: Parser) -> None:
    parser.add_argument(
        "version", metavar="run", help="the run, such as 20261124.0, or RUN/[TREE/]SUITE/TEST"
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[tree] suite[/test]",
        help="such as x86_64-runtime smoke/test_no_unit_failed; the tree where there are several",
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="how often (once)")
    wait_option(parser)
    json_option(parser)


def _run(parser: Parser) -> None:
    _overrides(parser)
    _force(parser)
    parser.add_argument("--again", action="store_true", help="go on though nothing has changed")
    parser.add_argument(
        "--offline", action="store_true", help="fetch nothing; what is not here is told"
    )
    parser.add_argument("--push", type=int, metavar="ID", help="for a push, as ostci pushes has it")
    wait_option(parser)
    json_option(parser)


def _show(parser: Parser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        default="manifest",
        help="manifest, snapshot, refs, a run (20261124.0), a tree (x86_64-runtime), ref or commit",
    )
    run_option(parser)
    json_option(parser)


def _log(parser: Parser) -> None:
    parser.add_argument("version", nargs="?", help="a run: print its log; none: list the runs")
    parser.add_argument("--component", metavar="NAME", help="this component's build log")
    parser.add_argument("-n", "--number", type=int, default=20, help="how many runs to list")
    json_option(parser)


def _diff(parser: Parser) -> None:
    parser.add_argument("a", help="a tree, ref, commit or run")
    parser.add_argument("b")
    json_option(parser)


def _where(parser: Parser) -> None:
    parser.add_argument("component", metavar="COMPONENT[@REVISION]")
    json_option(parser)


def _shell(parser: Parser) -> None:
    parser.add_argument("component")
    run_option(parser)
    parser.add_argument("command", nargs="*", help="instead of an interactive shell")


def _boot(parser: Parser) -> None:
    parser.add_argument("tree", help="a tree such as x86_64-runtime, a ref or a commit")
    parser.add_argument("--memory", type=int, metavar="MIB")


def _attach(parser: Parser) -> None:
    meant = "of which run, tree, suite and test; of all that are meant, the newest"
    parser.add_argument(
        "what", nargs="?", default="", metavar="[RUN/][TREE/][SUITE[/TEST]]", help=meant
    )
    parser.add_argument("--suite", default="", metavar="SUITE[/TEST]", help="the same")
    parser.add_argument("--run", metavar="VERSION", help="the same")
    console = "its serial console instead of a shell, for a guest that has none; Ctrl-] leaves"
    parser.add_argument("--console", action="store_true", help=console)
    parser.add_argument("--list", action="store_true", help="only tell which machines are kept")
    parser.add_argument("--json", action="store_true", help="the same for a program")


def _serve(parser: Parser) -> None:
    parser.add_argument("--address", metavar="HOST:PORT", help="127.0.0.1:8080 by default")


_CHAIN_VERBS: tuple[Verb, ...] = (
    (
        "init",
        "basics",
        "make a work directory for a manifest",
        "ostci init work manifests/tiny.yaml",
        _init,
    ),
    (
        "check",
        "basics",
        "check a manifest and tell every error at once",
        "ostci check manifests/debian.yaml",
        _check,
    ),
    (
        "schema",
        "basics",
        "print the JSON schema of manifests, for editors",
        "ostci schema > manifest.schema.json",
        no_options,
    ),
    (
        "run",
        "runs",
        "go the whole way: base, resolve, plan, build, compose, disk, test, promote",
        "ostci -C work run --override zlib=../zlib",
        _run,
    ),
    (
        "try",
        "trying",
        "try what is not pushed yet: a run that goes the whole way and promotes nothing",
        "ostci -C work try zlib=../zlib; ostci -C lap try --from https://os.example.org"
        " zlib=../zlib; ostci -C work try --remote --follow zlib=../zlib",
        try_options,
    ),
    ("base", "stage_verbs", "import the base, in a new run", "ostci -C work base", _base),
    (
        "resolve",
        "stage_verbs",
        "pin every source to a revision",
        "ostci -C work resolve --fetch zlib",
        _resolve,
    ),
    (
        "plan",
        "plan_command",
        "print what would be kept or rebuilt, and why",
        "ostci -C work plan",
        _plan,
    ),
    (
        "build",
        "stage_verbs",
        "build what the plan says",
        "ostci -C work build --run 20261124.0",
        _build,
    ),
    (
        "compose",
        "stage_verbs",
        "make trees of base and artifacts",
        "ostci -C work compose --target runtime",
        _targets,
    ),
    ("disk", "stage_verbs", "make a bootable disk of each tree", "ostci -C work disk", _disk),
    (
        "test",
        "stage_verbs",
        "boot trees and run suites on them",
        "ostci -C work test x86_64-runtime --suite smoke",
        _test,
    ),
    (
        "reproduce",
        "reproduce",
        "repeat a test of a run on the same disk, with the same memory, processors and seed",
        "ostci -C work reproduce 20261124.0 x86_64-runtime smoke/test_no_unit_failed --times 5",
        _reproduce,
    ),
    (
        "judge",
        "stage_verbs",
        "tell what the gate makes of a try's verdicts",
        "ostci -C work judge --run 20261124.0",
        _last,
    ),
    (
        "promote",
        "stage_verbs",
        "move buildmaster if the gate passed",
        "ostci -C work promote --run 20261124.0",
        _last,
    ),
    (
        "end",
        "stage_verbs",
        "give a run, of which stages were given one by one, its ending",
        "ostci -C work end 20261124.0",
        _end,
    ),
    (
        "cancel",
        "stage_verbs",
        "end all processes of a run, and the run",
        "ostci -C work cancel 20261124.0 --by alice",
        _cancel,
    ),
    ("show", "show", "print what was understood", "ostci -C work show x86_64-runtime", _show),
    ("log", "show", "list runs, or print the log of one", "ostci -C work log 20261124.0", _log),
    (
        "diff",
        "differences",
        "compare two trees: components, files, sizes",
        "ostci -C work diff 20261124.0 20261124.1",
        _diff,
    ),
    (
        "where",
        "differences",
        "tell which trees contain a component or revision",
        "ostci -C work where zlib@1a2b3c4",
        _where,
    ),
    (
        "shell",
        "machines",
        "enter the build of a component that failed",
        "ostci -C work shell zlib --run 20261124.0",
        _shell,
    ),
    (
        "attach",
        "attaching",
        "enter the machine of a test as it was when it failed",
        "ostci -C work attach 20261124.0/smoke/test_no_unit_failed; "
        "ostci -C work attach x86_64-runtime/smoke --console",
        _attach,
    ),
    ("boot", "machines", "boot any tree to a console", "ostci -C work boot x86_64-runtime", _boot),
    (
        "serve",
        "serving",
        "serve the repository and the evidence over HTTP",
        "ostci -C work serve --address 127.0.0.1:8080",
        _serve,
    ),
)

VERBS = (*_CHAIN_VERBS, *HOST_VERBS, *WORKER_VERBS)
