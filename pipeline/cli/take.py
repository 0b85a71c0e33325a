# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci take``: take over what a remote worker made of one job, if it is what it says.

Everything is unpacked aside and verified before a ref or a result names it. What is not true is
the worker's fault: it is set aside, the job is trouble (3) and is done again elsewhere. Otherwise
this ends as the job itself would have here.
"""

import argparse
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import __version__
from pipeline.cli.assign import planner_of, settle
from pipeline.cli.assigned import OFFER, Assignment, Job, Offer, job_of
from pipeline.cli.building import note_built, raise_failed, read_built, wished
from pipeline.cli.holds import held_run
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.cli.results import print_result
from pipeline.cli.terminal import live
from pipeline.cli.testing import hear
from pipeline.ports.files import remove_tree
from pipeline.ports.log import file_sink
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.parcel import NotAParcel, unpack
from pipeline.ports.process import CommandError
from pipeline.ports.worker_book import WorkerBook
from pipeline.stages.build import BuiltComponent, Outcome
from pipeline.stages.building.request import result_of
from pipeline.stages.building.verify import Refused, VerifyRequest, verify
from pipeline.words.artifact import Artifact
from pipeline.words.attempts import ELSEWHERE, failing
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Trouble
from pipeline.words.fitness import Pool
from pipeline.words.plan import Kind
from pipeline.words.records import from_json
from pipeline.words.verdict import SuiteResult, Verdict

_GROWS = 8
"""Objects are sent deflated; so many times the file's bound may they be together."""
_LONGEST_S = 7 * 86400.0
_CODES = {Outcome.BUILT: 0, Outcome.KEPT: 0, Outcome.FAILED: Failed.exit_code}


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What came from a worker, unpacked in ``place``."""

    worker: str
    pool: Pool
    job: Job
    assigned: Assignment
    offer: Offer
    place: Path

    @property
    def files(self) -> Path:
        return self.place / "files"


def do_take(options: argparse.Namespace) -> int:
    """Verify what was sent and take it over; the file is removed, however that goes."""
    house, sink = open_with_sink(options)
    job = job_of(options)
    run = house.workdir.run(options.run)
    what, wait_s = f"ostci take {job} --run {run.version}", options.wait or 0.0
    told: BaseException | None = None
    try:
        with (
            live(sink),
            locked(house, what, wait_s=wait_s, part=True),
            held_run(house, run, what, wait_s=wait_s, shared=True),
            file_sink(run.log) as file,
            house.log.also(file),
        ):
            passage = Passage(house, run)
            house.manifest = passage.manifest
            told = _take(passage, job, options)
    finally:
        options.file.unlink(missing_ok=True)
        if options.json and job.verb == "build":
            print_result(run, f"built/{job.what[0]}")
    if told is not None:
        raise told
    return EXIT_PASSED


def _take(passage: Passage, job: Job, options: argparse.Namespace) -> BaseException | None:
    """Take it over; returns what the job came to where that is no failure of the run."""
    house, worker = passage.house, options.worker
    if options.pool == Pool.TRY and passage.trial is None:
        # What those build is kept for their try alone, and this run would be promoted.
        raise BadInput(f"worker {worker} is for tries, and {passage.run.version} is none")
    book = WorkerBook(house.workdir)
    aside = book.read(worker).aside
    if aside:
        raise Trouble(f"worker {worker} is set aside meanwhile: {aside}")
    assigned = passage.read(job.file, Assignment, before="assign")
    place = house.tmp / "parcel"
    remove_tree(place)
    try:
        offer = _unpacked(passage, job, place, options)
        parcel = Parcel(
            worker=worker,
            pool=Pool(options.pool),
            job=job,
            assigned=assigned,
            offer=offer,
            place=place,
        )
        if job.verb == "test":
            return _take_suite(passage, parcel, options.code)
        _take_component(passage, parcel, options.code)
    except Refused as error:
        reason = f"it sent what is not true, {job} in run {passage.run.version}: {error}"
        book.set_aside(worker, reason)
        house.log.error(f"worker {worker} is set aside: {error}")
        hint = f"see what else it made: {house.command('workers', worker)}"
        raise Trouble(f"worker {worker} lied: {error}", hint=hint) from error
    finally:
        remove_tree(place)
    return None


def _unpacked(passage: Passage, job: Job, place: Path, options: argparse.Namespace) -> Offer:
    try:
        unpack(options.file, place, index=OFFER, most=options.most * _GROWS)
        offer = from_json(Offer, (place / OFFER).read_bytes())
    except NotAParcel as error:
        raise Refused(str(error)) from error
    except Trouble as error:
        if isinstance(error, Refused) or "no space" in str(error):
            raise
        raise Refused(f"{OFFER} cannot be read: {error.what}") from error
    if offer.run != passage.run.version or offer.job != job:
        raise Refused(f"it sent {offer.job} of run {offer.run}")
    if offer.version != __version__:
        raise Refused(f"it was made by ostci {offer.version}, this is {__version__}")
    return offer


# Components


def _take_component(passage: Passage, parcel: Parcel, code: int) -> None:
    one = parcel.offer.component
    (name,) = parcel.job.what
    if one is None or one.component != name:
        raise Refused("it tells nothing of its component")
    if _CODES.get(one.outcome) != code or one.trouble:
        raise Refused(f"it tells that {name} is {one.outcome}, and its command ended with {code}")
    if one.outcome is not Outcome.FAILED:
        one = _take_artifact(passage, parcel, one)
    else:
        one = replace(one, key=None, commits={}, failed_ref="", worker=parcel.worker)
    _take_files(parcel, passage.run.component(name))
    with passage.house.log.step(f"build {name}", took_s=_told_s(one.seconds)):
        note_built(passage, one)
        passage.house.log.fact(f"{one.outcome} on worker {parcel.worker}", about=name)
        raise_failed(passage, result_of(one.arch, (one,)))


def _take_artifact(passage: Passage, parcel: Parcel, one: BuiltComponent) -> BuiltComponent:
    house, assigned = passage.house, parcel.assigned
    component = passage.manifest.component(one.component)
    if one.key is None or assigned.recipe is None:
        raise Refused("it names no key")
    planner = planner_of(passage, trusted=one.component)
    settle(planner, assigned.artifacts)
    there = planner.decide(one.component)
    repo = _opened(parcel, one, house)
    request = VerifyRequest(
        component=component,
        recipe=assigned.recipe,
        key=one.key,
        commits=one.commits,
        planner=planner,
    )
    artifact = replace(verify(request, repo=repo, tmp=parcel.place), build_s=max(0.0, one.seconds))
    asked = wished(passage, read_built(passage.run))
    if there.kind is Kind.KEEP and there.artifact is not None and one.component not in asked:
        # Built meanwhile by somebody else: who was first has given it its refs.
        house.log.fact("it is here already, and that one stays", about=one.component)
        artifact = there.artifact
    else:
        artifact = _import(passage, parcel, artifact, repo)
    return replace(
        one,
        outcome=Outcome.BUILT,
        arch=artifact.arch,
        key=artifact.key,
        commits=artifact.commits,
        warnings=artifact.warnings,
        deprecations=artifact.deprecations,
        message="",
        worker="",
    )


def _opened(parcel: Parcel, one: BuiltComponent, house: House) -> Repo:
    """Make a repository of the objects that came, each verified by its checksum."""
    sent = Repo(parcel.place / "sent", log=house.log).create(Mode.ARCHIVE)
    if (parcel.place / "repo" / "objects").is_dir():
        remove_tree(sent.path / "objects")
        (parcel.place / "repo" / "objects").rename(sent.path / "objects")
    repo = Repo(parcel.place / "quarantine", log=house.log).create(Mode.BARE_USER)
    try:
        repo.run("pull-local", "--untrusted", str(sent.path), *one.commits.values())
        repo.fsck()
    except CommandError as error:
        told = error.finished.error_text.strip().splitlines()
        raise Refused(f"its objects are damaged: {told[-1] if told else error}") from error
    return repo


def _import(passage: Passage, parcel: Parcel, artifact: Artifact, repo: Repo) -> Artifact:
    house, osname = passage.house, passage.manifest.osname
    with house.repo.without_prune():
        house.repo.pull_local(repo.path, artifact.commits.values())
        made = house.artifacts.record(artifact, osname=osname)
    WorkerBook(house.workdir).note(
        parcel.worker, run=passage.run.version, component=artifact.component, key=artifact.key
    )
    return made


# Suites


def _take_suite(passage: Passage, parcel: Parcel, code: int) -> BaseException | None:
    result, tree = parcel.offer.suite, parcel.assigned.tree
    name, suite = parcel.job.what
    if result is None or tree is None or (result.tree, result.suite) != (name, suite):
        raise Refused("it tells nothing of its suite")
    if result.commit != tree.commit:
        raise Refused(f"it tested {result.commit[:12]}, not {tree.commit[:12]}")
    if not result.tests and result.verdict is Verdict.PASSED:
        raise Refused("it passed without a test")
    # A budget of flaky tests may have let it pass.
    allowed = (EXIT_PASSED,) if result.verdict is Verdict.FLAKY else ()
    if code not in (_code_of(result), *allowed):
        raise Refused(f"it tells {result.verdict}, and its command ended with {code}")
    if result.cause == ELSEWHERE:
        _check_elsewhere(parcel, result)
    place = passage.run.test(name, suite)
    _take_files(parcel, place)
    evidence = str(place.relative_to(passage.run.path))
    result = replace(result, evidence=evidence, seconds=_told_s(result.seconds))
    passage.house.log.fact(f"on worker {parcel.worker}", about=name)
    return hear(passage, result)


def _check_elsewhere(parcel: Parcel, result: SuiteResult) -> None:
    """Refuse that a failure was there before of whom was given nothing to compare with.

    Such a failure promotes nothing either way, but nobody is told of it: a lie would hide a bad
    push. Of workers of pushes, whose "failed" is believed as well, the comparison must be there.
    """
    if parcel.assigned.baseline is None:
        raise Refused("it compares with a promoted tree, and was given none")
    if result.verdict is not Verdict.FAILED or not failing(result):
        raise Refused(f"it says that a failure was there before, of what {result.verdict}")
    from pipeline.cli.attempts import BASELINE

    if not (parcel.files / BASELINE).is_dir():
        raise Refused("it compares with a promoted tree, and has no evidence of that")


def _told_s(seconds: float) -> float:
    """Take the seconds that a worker tells, as far as they can be true."""
    return seconds if 0.0 <= seconds <= _LONGEST_S else 0.0


def _code_of(result: SuiteResult) -> int:
    if result.verdict is Verdict.TROUBLE:
        return Trouble.exit_code
    bad = result.verdict in (Verdict.FAILED, Verdict.FLAKY)
    return Failed.exit_code if bad else EXIT_PASSED


def _take_files(parcel: Parcel, into: Path) -> None:
    """Put logs or evidence where those of this machine would be; earlier ones make way."""
    remove_tree(into)
    into.parent.mkdir(parents=True, exist_ok=True)
    if parcel.files.is_dir():
        shutil.move(parcel.files, into)
    else:
        into.mkdir()
