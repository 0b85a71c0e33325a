# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys: what a component's artifact is the result of, as hashes.

A *recipe* is all that can be known before building: the component's own sources and options, and
the set of names that are visible in its buildroot. Under a recipe lie used-sets, which only a
build can tell; recipe and used-set together are the artifact's *key*. How a decision is made of
them is in ``plan``.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.words.artifact import Artifact
from pipeline.words.manifest import Component, Manifest
from pipeline.words.refs import Key
from pipeline.words.snapshot import Pin

NOARCH = "noarch"
"""The architecture under which artifacts that are the same for all are kept."""
BUILD_VERSION = 1
"""Raise it when the same inputs are built in another way: everything is then built again."""
_SUM_BITS = 256
_SUM_MASK = (1 << _SUM_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class BaseFacts:
    """What the base brings to every buildroot.

    ``names_digest`` is of all its visible names (``names_digest``), ``packages`` maps name →
    version. ``names`` only serves to say in words which one came or went; it may be empty.
    """

    names_digest: str
    packages: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe key and what it is the hash of; entries that say nothing are left out."""

    key: Key
    inputs: Mapping[str, Any]


def base_facts(names: Iterable[str], packages: Mapping[str, str], commit: str) -> BaseFacts:
    """Gather the facts of a base from all interface names in it and its packages."""
    visible = visible_names(names)
    return BaseFacts(
        names_digest=names_digest(visible),
        packages=dict(sorted(packages.items())),
        commit=commit,
        names=visible,
    )


def visible_names(names: Iterable[str]) -> tuple[str, ...]:
    """Choose of interface names what a configure can look for: sorted, each once.

    Libraries count without their version, headers only at the top level: a new soname rebuilds
    who linked the old one, not everybody.
    """
    found = set()
    for name in names:
        if name.startswith("lib:"):
            found.add(name.partition(".so")[0].removesuffix(".a"))
        elif name.startswith(("pc:", "prog:")) or (name.startswith("header:") and "/" not in name):
            found.add(name)
    return tuple(sorted(found))


def names_digest(visible: Iterable[str]) -> str:
    """Hash a set of visible names; empty for none."""
    text = "\n".join(visible)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text else ""


def names_number(interface: Iterable[str]) -> int:
    """Turn an artifact's visible names into a number; numbers of several artifacts are added.

    Addition does not mind the order, and taking one away is a subtraction: the names visible to
    each of 1,000 components cost a step each, not a walk over all that come before it. A name
    that two artifacts bring counts twice, so that one hiding the other is noticed.
    """
    digest = names_digest(visible_names(interface))
    return int(digest, 16) if digest else 0


def add_numbers(first: int, second: int) -> int:
    """Add numbers of visible names."""
    return (first + second) & _SUM_MASK


def subtract_numbers(first: int, second: int) -> int:
    """Take the second number of visible names from the first."""
    return (first - second) & _SUM_MASK


def number_text(number: int) -> str:
    """Write a number of visible names for an input of a recipe; empty for none."""
    return f"{number:x}" if number else ""


def own_inputs(component: Component, pin: Pin, arch: str, manifest: Manifest) -> dict[str, Any]:
    """Gather what a component brings itself, without its buildroot, in the types that JSON has.

    Where the sources come from does not count, only what they are: a server that moved rebuilds
    nobody. Limits, ccache and texts for people change nothing in the result.
    """
    build = component.build
    return {
        "name": component.name,
        "arch": arch,
        "epoch": [component.epoch, manifest_epoch(component.name, manifest)],
        **_source_inputs(pin, component.patches),
        "children": {
            child.name: _source_inputs(pin.children[child.name], child.patches)
            for child in component.children
        },
        "system": str(build.system),
        "config-opts": list(component.config_opts),
        "options": list(build.options),
        "commands": list(build.commands),
        "environment": dict(build.environment),
        "subdir": build.subdir,
        "cflags": component.cflags.get(arch, ""),
        "setuid": list(component.setuid),
        "requires": list(component.requires_pkgconfig),
        "rm-configure": component.rm_configure,
        "installed-tests": component.installed_tests,
    }


def _source_inputs(pin: Pin, patches: tuple[str, ...]) -> dict[str, Any]:
    return {
        "revision": pin.revision,
        "submodules": dict(pin.submodules),
        "patches": [[name, pin.patches.get(name, "")] for name in patches],
    }


def manifest_epoch(name: str, manifest: Manifest) -> int:
    """Tell which epoch the manifest's ``build-epoch`` gives a component; 0 for none."""
    named = manifest.epoch_all or name in manifest.epoch_components
    return manifest.epoch if named else 0


def recipe(
    own: Mapping[str, Any], *, base: BaseFacts, visible: int, script: int = BUILD_VERSION
) -> Recipe:
    """Hash a component's own inputs, the names it sees and the version of the build script."""
    inputs = {name: value for name, value in own.items() if value}
    inputs["script"] = script
    inputs["base-names"] = base.names_digest
    inputs["visible"] = number_text(visible)
    return Recipe(key=_hash(inputs), inputs=inputs)


def artifact_key(recipe_key: Key, used: Mapping[str, Mapping[str, str]]) -> Key:
    """Hash a recipe with what the build really used."""
    return _hash({"recipe": recipe_key, "used": used})


def is_consistent(artifact: Artifact) -> bool:
    """Tell whether an artifact's key is the hash of what it says."""
    return artifact.key == artifact_key(artifact.recipe, artifact.used)


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def _hash(value: object) -> Key:
    return Key(hashlib.sha256(_dumps(value).encode()).hexdigest())
