# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs that need no run: init, check, schema, doctor."""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from pipeline.cli import manifest_commands
from pipeline.cli.house import find_root, init, must_be_new, read_settings
from pipeline.cli.sample import Sample, is_sample
from pipeline.cli.terminal import live, stdout_sink
from pipeline.ports.log import Log
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble


def do_init(options: argparse.Namespace) -> int:
    """Make a work directory; for a sample, with repositories that can be pushed to."""
    directory: Path = options.directory
    manifest: Path = options.manifest
    must_be_new(directory)
    if is_sample(manifest):
        sample = Sample(
            directory.absolute() / "sample", log=Log(stdout_sink(verbose=options.verbose))
        )
        sample.make(manifest)
        manifest = sample.manifest
        for component in sample.components():
            print(f"a git repository of {component}: {sample.repository(component)}")
    init(directory, manifest)
    print(f"{directory} is a work directory for {manifest}")
    print(f"next: ostci -C {directory} run")
    return EXIT_PASSED


def do_check(options: argparse.Namespace) -> int:
    """Check a manifest and tell every error at once."""
    path: Path = options.manifest or read_settings(find_root(options.workdir)).manifest
    return manifest_commands.check(path, as_json=options.json, out=sys.stdout)


def do_schema(_options: argparse.Namespace) -> int:
    """Print the JSON schema of manifests."""
    manifest_commands.schema(sys.stdout)
    return EXIT_PASSED


def do_doctor(options: argparse.Namespace) -> int:
    """Try every prerequisite, and look whether the one rule holds in a work directory."""
    from pipeline.cli.doctor import examine, examine_rule
    from pipeline.cli.doctor_master import examine_master

    root = _named_or_here(options.workdir)
    sink = stdout_sink(verbose=options.verbose)
    with live(sink):
        findings = examine(Log(sink), boot=not options.no_boot)
        if root is not None:
            findings += [examine_rule(root, Log(sink)), *examine_master(root)]
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = "ok" if finding.ok else "MISSING" if finding.needed else "without"
            print(f"{mark:<8} {finding.name}: {finding.words}")
            if not finding.ok and finding.mend:
                print(f"         → {finding.mend}")
    missing = [finding.name for finding in findings if finding.needed and not finding.ok]
    return Trouble.exit_code if missing else EXIT_PASSED


def _named_or_here(named: Path | None) -> Path | None:
    """Find the work directory; None where none is named and none is here."""
    try:
        return find_root(named)
    except BadInput:
        if named is not None or "OSTCI_WORKDIR" in os.environ:
            raise
        return None
