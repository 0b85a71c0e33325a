# SPDX-License-Identifier: LGPL-2.1-or-later
"""After a promotion: publish what the trees were made of, where the settings say so."""

from pipeline import __version__
from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.results import Trees
from pipeline.stages.base import BaseResult
from pipeline.stages.build import BuildResult
from pipeline.stages.promote import ArtifactsPublisher
from pipeline.words.errors import Trouble
from pipeline.words.published import PublishedArtifact, PublishedRun


def publisher_of(house: House) -> ArtifactsPublisher:
    """Make what publishes artifacts of a work directory."""
    return ArtifactsPublisher(
        repo=house.repo,
        archive=house.archive,
        ledger=house.ledger,
        keyring=house.keyring,
        into=house.workdir.published,
    )


def publish_artifacts(passage: Passage) -> None:
    """Publish what a run's promoted trees were made of; given again, nothing is done twice."""
    house = passage.house
    with house.log.step("publish artifacts"):
        publisher_of(house).publish(index_of(passage))


def index_of(passage: Passage) -> PublishedRun:
    """Gather what the trees of a run were made of; raises Trouble for what is here no more."""
    built = passage.read("build", BuildResult)
    trees = passage.read("trees", Trees).trees
    snapshot = passage.snapshot
    return PublishedRun(
        ostci=__version__,
        osname=passage.manifest.osname,
        run=passage.run.version,
        arch=built.arch,
        digest=snapshot.digest,
        snapshot=snapshot,
        base=passage.read("base", BaseResult).variants,
        trees={tree.name: tree.commit for tree in trees},
        artifacts=tuple(_artifacts(passage, built)),
    )


def _artifacts(passage: Passage, built: BuildResult) -> list[PublishedArtifact]:
    found = []
    for one in built.components:
        artifact = passage.house.artifacts.by_key(one.key) if one.key else None
        if artifact is None:
            hint = passage.command("build")
            raise Trouble(
                "its artifact is gone, and is not published", where=one.component, hint=hint
            )
        found.append(
            PublishedArtifact(
                component=one.component,
                arch=artifact.arch,
                recipe=artifact.recipe,
                key=artifact.key,
                commits=artifact.commits,
            )
        )
    return found
