# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is run to build a component: a shell script, and an environment that is always the same.

The words of the script are in ``build.sh``; here a component's options become its arguments.
The build API is the original's (configure, make, make install into DESTDIR), beside it meson,
cmake, plain make and commands of one's own.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.words.manifest import BuildSystem, Component
from pipeline.words.snapshot import Pin

TOP = "/build"
"""Where the source is, below its component's name."""
DESTDIR = "/destdir"
OWN = "/ostci"
"""Where our scripts are."""
CCACHE = "/ccache"
PREFIX = "/usr"
_FLAGS = "-g -O2"
_TRIPLETS = {"i686": "i686-linux-gnu", "armv7l": "arm-linux-gnueabihf"}
_DEBIAN = {"i686": "i386-linux-gnu"}


@dataclass(frozen=True, kw_only=True)
class Script:
    """Files for the directory that is ``/ostci`` within, and the environment to run in."""

    files: Mapping[str, str]
    env: Mapping[str, str]
    cwd: str

    @property
    def argv(self) -> list[str]:
        return ["sh", "-e", f"{OWN}/run.sh"]


def source_path(component: Component) -> str:
    """Tell where a component's source is within the sandbox."""
    return f"{TOP}/{component.name}"


def script_of(component: Component, pin: Pin, arch: str, root: Path, jobs: int) -> Script:
    """Write the script that builds a component in the buildroot ``root``."""
    build = component.build
    top = source_path(component)
    cwd = f"{top}/{build.subdir}".rstrip("/")
    files = {
        "build.sh": (Path(__file__).parent / "build.sh").read_text(),
        "split.sh": (Path(__file__).parent / "split.sh").read_text(),
        "commands.sh": "\n".join(build.commands) + "\n",
        "run.sh": _run(component, cwd),
    }
    system = BuildSystem.CUSTOM if build.commands else build.system
    env = {
        **_fixed(component, pin, arch, root),
        "JOBS": str(jobs),
        "OSTCI_LOAD": str(2 * (os.cpu_count() or 1)),
        "OSTCI_SYSTEM": str(system),
        "OSTCI_CCACHE": "1" if build.ccache else "",
        **build.environment,
    }
    return Script(files=files, env=env, cwd=cwd)


def _fixed(component: Component, pin: Pin, arch: str, root: Path) -> dict[str, str]:
    flags = component.cflags.get(arch, _FLAGS)
    top = source_path(component)
    # Debuggers look below /usr/src/debug, and no path of a build gets into what it makes.
    flags += f" -ffile-prefix-map={top}=/usr/src/debug/{component.name}"
    env = {
        "CFLAGS": flags,
        "CXXFLAGS": flags,
        "DESTDIR": DESTDIR,
        "PREFIX": PREFIX,
        "LIBDIR": libdir(root, arch),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(max(pin.commit_time, 1)),
        "ZERO_AR_DATE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OSTCI_RM_CONFIGURE": "1" if component.rm_configure else "",
        "OSTCI_TRIPLET": _TRIPLETS.get(arch, f"{arch}-linux-gnu"),
    }
    if not os.path.lexists(root / "usr/bin/cc"):
        # Where a base was only unpacked, nobody has made Debian's links of that name.
        for variable, compiler in (("CC", "gcc"), ("CXX", "g++")):
            if os.path.lexists(root / "usr/bin" / compiler):
                env[variable] = compiler
    if not component.build.ccache:
        env["CCACHE_DISABLE"] = "1"  # meson uses what it finds
    else:
        # Without direct mode the preprocessor always runs, and so opens every header.
        env |= {"CCACHE_DIR": CCACHE, "CCACHE_NODIRECT": "1", "CCACHE_COMPILERCHECK": "content"}
        env |= {"CCACHE_MAXSIZE": "512M", "CCACHE_TEMPDIR": "/tmp"}
    return env


def libdir(root: Path, arch: str) -> str:
    """Tell where libraries go: where those of the base are, and so are found first."""
    for name in (_DEBIAN.get(arch, f"{arch}-linux-gnu"), _TRIPLETS.get(arch, "")):
        if name and (root / "usr/lib" / name).is_dir():
            return f"{PREFIX}/lib/{name}"
    wide = root / "usr/lib64"
    has_libraries = wide.is_dir() and not wide.is_symlink() and any(wide.glob("libc.so*"))
    return f"{PREFIX}/lib64" if has_libraries else f"{PREFIX}/lib"


def _run(component: Component, cwd: str) -> str:
    lines = ["umask 022", f"cd {shlex.quote(cwd)}", f". {OWN}/build.sh"]
    lines += [f"require {shlex.quote(one)}" for one in component.requires_pkgconfig]
    lines += ["system=$(choose)", 'case "$system" in']
    for system in BuildSystem:
        if system is not BuildSystem.GUESS:
            options = shlex.join(["set", "--", *_options(component, system)])
            lines.append(f"    {system}) {options} ;;")
    return "\n".join([*lines, "esac", 'main "$system" "$@"', ""])


def _options(component: Component, system: BuildSystem) -> tuple[str, ...]:
    """Choose what is for a build system; ``config-opts`` are written for configure scripts.

    Of them, meson and cmake only take what has their form.
    """
    own = component.build.options
    if system is BuildSystem.AUTOTOOLS:
        return (*component.config_opts, *own)
    if system in (BuildSystem.MESON, BuildSystem.CMAKE):
        return (*(one for one in component.config_opts if one.startswith("-D")), *own)
    return own
