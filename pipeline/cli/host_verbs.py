# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of who runs ostci: what watches, keeps up, cleans and saves; options and help."""

from pathlib import Path

from pipeline.cli.verb_options import Parser, Verb, json_option, part_options, wait_option

_VIA = ("poll", "hook", "force", "base", "manifest", "try")


def _push(parser: Parser) -> None:
    parser.add_argument("component", help="a component, base, manifest, patches or nightly")
    parser.add_argument("--after", default="", metavar="REVISION", help="its newest by default")
    parser.add_argument("--via", default="force", choices=_VIA, help="how it came to be known")
    parser.add_argument("--note", default="", metavar="TEXT", help="why")
    parser.add_argument("--by", default="", metavar="WHO", help="who wants it")
    parser.add_argument(
        "--rebuild", action="append", default=[], metavar="NAME", help="build it in any case"
    )
    part_options(parser)
    json_option(parser)


def _pushes(parser: Parser) -> None:
    parser.add_argument("--open", action="store_true", help="only those without an ending")
    parser.add_argument("-n", "--number", type=int, default=20, help="how many to list")
    json_option(parser)


def _watch(parser: Parser) -> None:
    parser.add_argument("--once", action="store_true", help="look once, and end")
    parser.add_argument(
        "--every", type=float, default=60.0, metavar="SECONDS", help="how long a round takes"
    )
    parser.add_argument(
        "--no-branches",
        action="store_true",
        help="look at manifest and base alone; a master asks for branches itself",
    )
    json_option(parser)


def _up(parser: Parser) -> None:
    parser.add_argument(
        "--dir", type=Path, help="where master and worker live (buildbot/ of the work directory)"
    )
    parser.add_argument("--port", type=int, default=8010, help="of the page; 0: any that is free")
    parser.add_argument(
        "--worker-port", type=int, default=9989, help="of the worker; 0: any that is free"
    )
    parser.add_argument(
        "--dock-port", type=int, help="where a worker user pulls (8012, or free as --worker-port)"
    )


def _doctor(parser: Parser) -> None:
    parser.add_argument("--no-boot", action="store_true", help="do not boot the probe machine")
    json_option(parser)


def _clean(parser: Parser) -> None:
    parser.add_argument("-n", "--dry-run", action="store_true", help="only tell what would go")
    parser.add_argument("--keep", type=int, default=20, metavar="N", help="runs to keep")
    wait_option(parser)


def _backup(parser: Parser) -> None:
    parser.add_argument("directory", type=Path, help="best on another disk; brought up to date")
    parser.add_argument("--no-fsck", action="store_true", help="do not read all of it at the end")
    wait_option(parser)


def _restore(parser: Parser) -> None:
    parser.add_argument("backup", type=Path, help="what ostci backup made")
    parser.add_argument("directory", type=Path, help="the new work directory")
    parser.add_argument(
        "--ledger", metavar="URL", help="where to: postgresql://… or sqlite (as it was before)"
    )


def _key(parser: Parser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        default="list",
        choices=("list", "rotate", "retire"),
        help="rotate: a new key signs, too; retire: the newest alone signs",
    )
    wait_option(parser)


HOST_VERBS: tuple[Verb, ...] = (
    (
        "watch",
        "watching",
        "look where branches, tags and merge requests are, and record what is to be run",
        "ostci -C work watch --once",
        _watch,
    ),
    (
        "push",
        "push_verbs",
        "record a push by hand, as a forced run of what it names",
        "ostci -C work push zlib --after 1a2b3c4 --rebuild zlib",
        _push,
    ),
    (
        "pushes",
        "push_verbs",
        "list pushes and what became of them",
        "ostci -C work pushes --open",
        _pushes,
    ),
    (
        "up",
        "up",
        "bring up a Buildbot master and its worker, and keep them up",
        "ostci -C work up --port 8010",
        _up,
    ),
    (
        "backup",
        "backup",
        "copy ledger, commits, keys, secrets and runs to another place",
        "ostci -C work backup /mnt/ostci-backup",
        _backup,
    ),
    (
        "restore",
        "backup",
        "make a work directory of a backup",
        "ostci restore /mnt/ostci-backup work",
        _restore,
    ),
    (
        "key",
        "keys",
        "list the signing keys, or change from one to the next",
        "ostci -C work key rotate",
        _key,
    ),
    (
        "doctor",
        "basics",
        "try every prerequisite, check the one rule, and print what mends it",
        "ostci doctor",
        _doctor,
    ),
    (
        "clean",
        "serving",
        "remove what no policy keeps",
        "ostci -C work clean --dry-run --keep 10",
        _clean,
    ),
)
