# SPDX-License-Identifier: LGPL-2.1-or-later
"""How git is started here: with no settings but ours, no prompt, no hook, and known transports.

What is fetched is hostile: objects are checked as they come, ``--`` stands before every URL, and
only the transports that a manifest may name are let through. Which repositories there are is
not known here.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.words.source_urls import GIT_SCHEMES

SETTINGS = """\
[safe]
	# Developers' repositories belong to them, whoever we are.
	directory = *
[gc]
	auto = 0
[core]
	hooksPath = /dev/null
	fsmonitor = false
	# Else ~/.config/git/attributes decides on line ends.
	attributesFile = /dev/null
	protectHFS = true
	protectNTFS = true
[transfer]
	fsckObjects = true
[fetch]
	recurseSubmodules = false
[fetch "fsck"]
	# Of ten-year-old histories: ugly, and no danger.
	badTimezone = ignore
	missingSpaceBeforeDate = ignore
	missingSpaceBeforeEmail = ignore
	zeroPaddedFilemode = ignore
	missingNameBeforeEmail = ignore
	badDateOverflow = ignore
	missingTaggerEntry = ignore
	nullSha1 = ignore
[advice]
	detachedHead = false
[http]
	lowSpeedLimit = 1000
	lowSpeedTime = 60
[protocol]
	allow = never
"""
"""Ours alone: what the person or the machine has set for git is not read."""
_KEPT = (
    *("SSH_AUTH_SOCK", "HOME", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
IDENTITY = {
    "GIT_AUTHOR_NAME": "ostci",
    "GIT_AUTHOR_EMAIL": "ostci@localhost",
    "GIT_COMMITTER_NAME": "ostci",
    "GIT_COMMITTER_EMAIL": "ostci@localhost",
}


class Git:
    """git with our settings, which lie in a file of ``directory``."""

    def __init__(self, directory: Path, *, log: Log) -> None:
        self.directory = directory
        self._settings = directory / "gitconfig"
        self._is_written = False
        self.log = log

    def environment(self, **more: str) -> dict[str, str]:
        """Tell all that git sees of the environment."""
        self._write_settings()
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            **kept,
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "GIT_CONFIG_GLOBAL": str(self._settings),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=30",
            "GIT_ALLOW_PROTOCOL": ":".join(GIT_SCHEMES),
            "GIT_OPTIONAL_LOCKS": "0",
            **more,
        }

    def _write_settings(self) -> None:
        """Have the file of settings as this version wants it, whoever wrote it last."""
        if self._is_written and self._settings.is_file():
            return
        allowed = "".join(f'[protocol "{scheme}"]\n\tallow = always\n' for scheme in GIT_SCHEMES)
        wanted = SETTINGS + allowed
        if not self._settings.is_file() or self._settings.read_text() != wanted:
            write_text(self._settings, wanted)
        self._is_written = True

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        ok: Sequence[int] = (0,),
        input: bytes | None = None,
        deadline_s: float = 600.0,
    ) -> process.Finished:
        """Run ``git ARGV``; raises CommandError as ``process.run`` does."""
        return process.run(
            ["git", *argv],
            log=self.log,
            cwd=cwd,
            env=self.environment(**(env or {})),
            ok=ok,
            input=input,
            deadline_s=deadline_s,
        )
