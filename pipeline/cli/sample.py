# SPDX-License-Identifier: LGPL-2.1-or-later
"""Git repositories of a sample's own components, as if people pushed to them.

A sample is a manifest with a folder of its name beside it: each folder in that is the source of
one component. Here they become repositories with a history. A push is a commit to one of them;
where they are hosted, it is a ``git push`` to a bare one, whose hook tells a master of it.
"""

import shutil
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Sample Developer",
    "GIT_AUTHOR_EMAIL": "developer@example.org",
    "GIT_COMMITTER_NAME": "Sample Developer",
    "GIT_COMMITTER_EMAIL": "developer@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
}
STORY = "demo.json"
"""Is in a sample's folder: what its demo does."""
PLACEHOLDER = "git:./"
"""How a sample's manifest names the folder of its own components."""


def is_sample(manifest: Path) -> bool:
    """Tell whether a manifest has the sources of its own components in a folder beside it."""
    return (manifest.with_suffix("") / STORY).is_file()


class Sample:
    """A sample laid out below ``root``: ``manifest.yaml`` and ``git/COMPONENT``.

    Where they are hosted, people work in ``desk/COMPONENT`` and push from there.
    """

    def __init__(self, root: Path, *, log: Log) -> None:
        self.root = root
        self.manifest = root / "manifest.yaml"
        self._log = log

    def make(self, manifest: Path) -> None:
        """Copy the manifest and make a repository of each folder beside it."""
        sources = manifest.with_suffix("")
        if not sources.is_dir():
            raise BadInput(f"{manifest} is no sample: there is no folder {sources}")
        self.root.mkdir(parents=True, exist_ok=True)
        for source in sorted(path for path in sources.iterdir() if path.is_dir()):
            place = self.repository(source.name)
            shutil.copytree(source, place)
            self._git(place, "init", "--quiet", "--initial-branch=master")
            self.push(source.name, "Initial version")
        text = manifest.read_text().replace(f"{PLACEHOLDER}{sources.name}/", f"{PLACEHOLDER}git/")
        write_text(self.manifest, text)

    def host(self, hook: str) -> None:
        """Make bare repositories of all, with a program that git starts when one was pushed to."""
        desks = self.root / "desk"
        desks.mkdir()
        for component in self.components():
            place, desk = self.repository(component), desks / component
            place.rename(desk)
            self._git(self.root, "clone", "--quiet", "--bare", str(desk), str(place))
            self._git(desk, "remote", "add", "origin", str(place))
            self._git(desk, "fetch", "--quiet", "origin")
            self._git(desk, "branch", "--quiet", "--set-upstream-to=origin/master")
            program = place / "hooks" / "post-receive"
            write_text(program, hook)
            program.chmod(0o755)

    def components(self) -> list[str]:
        """List the components that have a repository here."""
        return sorted(path.name for path in (self.root / "git").iterdir())

    def repository(self, component: str) -> Path:
        """Tell where the repository of a component is that the manifest names."""
        return self.root / "git" / component

    def desk(self, component: str) -> Path:
        """Tell where the work tree of a component is."""
        desk = self.root / "desk" / component
        return desk if desk.is_dir() else self.repository(component)

    def push(self, component: str, subject: str) -> str:
        """Commit whatever was edited, and push it where it is hosted; tells the revision."""
        place = self.desk(component)
        self._git(place, "add", "--all")
        self._git(place, "commit", "--quiet", f"--message={subject}")
        if place != self.repository(component):
            argv = ["git", "push"]
            for line in process.run(
                argv, cwd=place, env=_IDENTITY, log=self._log
            ).error_text.splitlines():
                self._log.fact(line.rstrip())
        return self._git(place, "rev-parse", "HEAD")

    def edit(self, component: str, file: str, old: str, new: str) -> None:
        """Replace a text in a file of a component; raises BadInput where it is not there."""
        path = self.desk(component) / file
        text = path.read_text()
        if old not in text:
            raise BadInput(f"{path} does not contain {old!r}")
        path.write_text(text.replace(old, new))

    def _git(self, place: Path, *argv: str) -> str:
        return process.run(["git", *argv], cwd=place, env=_IDENTITY, log=self._log).text
