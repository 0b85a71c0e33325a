# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of workers on other machines: their options and their help.

``assign`` → ``fetch`` → the stage itself → ``offer`` → ``take`` is the way of one job, which a
person can give one after the other; the master has ``perform`` do the three in the middle.
"""

from pathlib import Path

from pipeline.cli.verb_options import Parser, Verb
from pipeline.words.fitness import Pool

_MOST = 2048 * 1024**2


def _worker(parser: Parser) -> None:
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="of the master")
    parser.add_argument("--name", required=True, help="as the master's settings have it")
    parser.add_argument(
        "--password-file", required=True, type=Path, metavar="FILE", help="for its owner alone"
    )
    parser.add_argument("--dir", required=True, type=Path, help="the worker's home")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="who signs the master's TLS, PEM")
    parser.add_argument("--slots", type=int, default=1, help="how much it does at once")
    parser.add_argument(
        "--room", type=float, default=10.0, metavar="GIB", help="to be free before it takes work"
    )
    parser.add_argument(
        "--again", type=float, default=60.0, metavar="SECONDS", help="between two looks at itself"
    )
    parser.add_argument("--no-boot", action="store_true", help="do not boot the probe machine")


def _job(parser: Parser) -> None:
    parser.add_argument("verb", choices=("build", "test"), help="what is to be done")
    parser.add_argument("what", nargs=1, metavar="NAME", help="a component, or a tree")
    parser.add_argument("--suite", help="the suite to run on the tree")
    parser.add_argument("--run", required=True, metavar="VERSION", help="the run")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="for whoever holds the run")


def _assign(parser: Parser) -> None:
    _job(parser)
    parser.add_argument("--pool", choices=tuple(Pool), default=Pool.PUSH, help="of its worker")
    parser.add_argument("--json", action="store_true", help="print it, too")


def _fetch(parser: Parser) -> None:
    _job(parser)
    parser.add_argument("--from", required=True, metavar="URL", help="the master's dock")
    parser.add_argument(
        "--beside", type=Path, metavar="REPO", help="the master's repository, on the same machine"
    )
    parser.add_argument(
        "--room", type=float, metavar="GIB", help="to be free on the disk (as ostci worker has it)"
    )


def _bounded(parser: Parser) -> None:
    parser.add_argument(
        "--most", type=int, default=_MOST, metavar="BYTES", help="how large the file may be"
    )


def _offer(parser: Parser) -> None:
    _job(parser)
    _bounded(parser)
    parser.add_argument("--into", required=True, type=Path, metavar="FILE", help="the tar to write")


def _perform(parser: Parser) -> None:
    _fetch(parser)
    _bounded(parser)
    parser.add_argument("--into", required=True, type=Path, metavar="FILE", help="the tar to write")


def _take(parser: Parser) -> None:
    _job(parser)
    _bounded(parser)
    parser.add_argument("--file", required=True, type=Path, help="what ostci offer wrote")
    parser.add_argument("--worker", required=True, metavar="NAME", help="who sent it")
    parser.add_argument("--pool", choices=tuple(Pool), default=Pool.TRY, help="whom it works for")
    parser.add_argument(
        "--code", type=int, default=0, help="how its command ended, which has to agree"
    )
    parser.add_argument("--json", action="store_true", help="print the result")


def _compare(parser: Parser) -> None:
    parser.add_argument("component")
    parser.add_argument("--run", required=True, metavar="VERSION", help="the run")
    parser.add_argument("--worker", required=True, metavar="NAME", help="who built it")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="for whoever holds the run")


def _workers(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", help="one of them: all that it made")
    parser.add_argument("--back", action="store_true", help="let it work again")
    parser.add_argument("--json", action="store_true", help="print JSON for a program")


def _dock(parser: Parser) -> None:
    parser.add_argument("--dir", type=Path, help="where the master lives (buildbot/master)")


WORKER_VERBS: tuple[Verb, ...] = (
    (
        "worker",
        "worker",
        "be a worker of a master on another machine",
        "ostci worker --server ci.example.org:9990 --name anvil --password-file pw --ca ca.pem"
        " --dir /srv/ostci-worker",
        _worker,
    ),
    (
        "workers",
        "workers",
        "list remote workers that did something, and those that were set aside",
        "ostci -C work workers anvil --back",
        _workers,
    ),
    (
        "dock",
        "workers",
        "serve remote workers what they need; ostci up starts it",
        "ostci -C work dock",
        _dock,
    ),
    (
        "assign",
        "assign",
        "write down what a remote worker needs for one job of a run",
        "ostci -C work assign build zlib --run 20261124.0",
        _assign,
    ),
    (
        "fetch",
        "fetch",
        "on a worker, bring here what one job needs",
        "ostci fetch --from https://ci.example.org:8011 build zlib --run 20261124.0",
        _fetch,
    ),
    (
        "offer",
        "offer",
        "on a worker, pack what one job has made",
        "ostci offer build zlib --run 20261124.0 --into offer.tar",
        _offer,
    ),
    (
        "perform",
        "perform",
        "on a worker, do a whole job: fetch, build or test, offer",
        "ostci perform --from https://ci.example.org:8011 build zlib --run 20261124.0"
        " --into offer.tar",
        _perform,
    ),
    (
        "take",
        "take",
        "take over what a remote worker made, if it is what it says",
        "ostci -C work take build zlib --run 20261124.0 --file offer.tar --worker anvil",
        _take,
    ),
    (
        "compare",
        "compare",
        "build again here what a remote worker built, and compare",
        "ostci -C work compare zlib --run 20261124.0 --worker anvil",
        _compare,
    ),
)
