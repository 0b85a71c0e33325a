# SPDX-License-Identifier: LGPL-2.1-or-later
"""Single values of a manifest: sizes, times, checksums, ids, paths; how each is written.

Every function here takes what stands in the text and raises Wrong for what it cannot be; the
annotated types are these functions as pydantic and editors see them.
"""

import posixpath
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pipeline.words.findings import Wrong, did_you_mean
from pipeline.words.refs import is_name, is_revision

ARCHITECTURES = ("x86_64", "i686", "aarch64", "armv7l", "ppc64le", "riscv64", "s390x")
_FACTORS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SECONDS = {"h": 3600, "m": 60, "s": 1}
_SIZE = r"([0-9]{1,15})\s*([KMGT]?)(i?B)?"
_TIME = r"(?=[0-9])(?:([0-9]{1,5})h)?\s*(?:([0-9]{1,6})m)?\s*(?:([0-9]{1,7})s)?"
_DESCRIBED = re.compile(r".*-g([0-9a-f]{40})")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(target|service|socket|mount|path|timer)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def parse_size(value: Any) -> int:
    """Read bytes: a number, or one with K, M, G or T (powers of 1024)."""
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if found:
        return int(found[1]) * _FACTORS[found[2]]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Wrong("wants a size such as 512M or 4G")


def parse_duration(value: Any) -> int:
    """Read seconds: a number, or text such as ``90s``, ``5m``, ``1h30m``."""
    found = re.fullmatch(_TIME, value) if isinstance(value, str) else None
    if found:
        return sum(
            int(count) * seconds
            for count, seconds in zip(found.groups(), _SECONDS.values(), strict=True)
            if count
        )
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise Wrong("wants a time such as 90s, 5m or 1h30m")


def parse_checksum(value: Any) -> str:
    """Read a SHA-256."""
    text = _text(value)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise Wrong("wants a SHA-256, 64 hexadecimal digits", f"this has {len(text)} characters")
    return text.lower()


def parse_message_id(value: Any) -> str:
    """Read the MESSAGE_ID of a journal entry."""
    text = _text(value).replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise Wrong(
            "wants a MESSAGE_ID, 32 hexadecimal digits",
            "journalctl -o verbose shows it; journalctl --new-id128 makes one",
        )
    return text


def parse_revision(value: Any) -> str:
    """Read a git commit id, also from what ``git describe --long --abbrev=42`` printed."""
    text = _text(value)
    described = _DESCRIBED.fullmatch(text)
    text = described[1] if described else text
    if not is_revision(text):
        raise Wrong("wants a git commit id, 40 hexadecimal digits", "git rev-parse prints it")
    return text


def parse_architecture(value: Any) -> str:
    """Read the name of an architecture, as ``uname -m`` has it."""
    text = _text(value)
    if text not in ARCHITECTURES:
        near = did_you_mean(text, ARCHITECTURES)
        raise Wrong(f"unknown architecture {text!r}", near or f"one of {', '.join(ARCHITECTURES)}")
    return text


def parse_name(value: Any) -> str:
    """Read a name that can stand in a ref and a path."""
    text = _text(value)
    if not is_name(text):
        raise Wrong(
            f"{text!r} cannot be a name", "letters, digits and _ . + - can, a letter or digit first"
        )
    return text


def parse_user_name(value: Any) -> str:
    """Read the name of a user who is nobody special."""
    text = _text(value)
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text) or text == "root":
        raise Wrong(f"{text!r} cannot be a user of a session", "small letters, digits, _ and -")
    return text


def parse_unit(value: Any) -> str:
    """Read the name of a systemd unit."""
    text = _text(value)
    if not _UNIT.fullmatch(text) or text.startswith("-"):
        raise Wrong(f"{text!r} is no systemd unit", "such as multi-user.target")
    return text


def parse_file_path(value: Any) -> str:
    """Read an absolute path in its normal form."""
    text = parse_line(value)
    normal = posixpath.normpath(text)
    if not text.startswith("/") or text.startswith("//"):
        raise Wrong(f"{text!r} is no absolute path", "it begins with one /")
    if text != normal or text == "/":
        raise Wrong(f"{text!r} is no normal path", f"did you mean {normal!r}?")
    return text


def parse_inner_path(value: Any) -> str:
    """Read a path that stays below where it starts."""
    text = parse_line(value)
    parts = text.split("/")
    if text.startswith(("/", "-")) or ".." in parts or "." in parts or "" in parts:
        raise Wrong(f"{text!r} is no path within", "write it without /, ., .. or - at its start")
    return text


def parse_line(value: Any) -> str:
    """Read a text of one line that says something."""
    text = _text(value)
    if _CONTROL.search(text):
        raise Wrong("wants one line of text, this has a control character")
    if not text.strip():
        raise Wrong("wants a text, this is empty")
    return text


def parse_word(value: Any) -> str:
    """Read a text without white space."""
    text = parse_line(value)
    if re.search(r"\s", text):
        raise Wrong(f"{text!r} has white space in it", "write each word as an item of its own")
    return text


def parse_pattern(value: Any) -> str:
    """Read a regular expression."""
    text = parse_line(value)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Wrong(f"{text!r} is no regular expression: {error}") from error
    return text


def parse_variable(value: Any) -> str:
    """Read the name of an environment variable."""
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise Wrong(f"{text!r} cannot be the name of a variable")
    return text


def parse_package(value: Any) -> str:
    """Read the name of a Debian package, maybe with ``=VERSION``, or a shell pattern of names.

    Which lists may have a pattern is not known here.
    """
    text = _text(value)
    name = r"[a-z0-9][a-z0-9+.-]*(=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?"
    if not re.fullmatch(rf"{name}|[a-z0-9*?\[][a-z0-9+.*?\[\]!-]*", text):
        raise Wrong(f"{text!r} is no name of a Debian package")
    return text


def parse_debian_version(value: Any) -> str:
    """Read the version of a Debian package."""
    text = _text(value)
    if not re.fullmatch(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*", text):
        raise Wrong(f"{text!r} is no version of a Debian package", "such as 1:1.2.13.dfsg-1")
    return text


def parse_suite(value: Any) -> str:
    """Read the name of a Debian suite."""
    text = _text(value)
    if not re.fullmatch(r"[a-z][a-z0-9-]*", text):
        raise Wrong(f"{text!r} is no Debian suite", "such as bookworm")
    return text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Wrong(f"wants text, this is {kind_of(value)}")


def kind_of(value: Any) -> str:
    """Say in words what kind of value something is."""
    if value is None:
        return "empty"
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "text"}
    return kinds.get(type(value), "a list" if isinstance(value, list) else "a mapping")


def _schema(kind: str | list[str], **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    _schema(["string", "integer"], pattern=f"^{_SIZE}$", minimum=0, examples=["512M", "4G"]),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    _schema(["string", "integer"], pattern=f"^{_TIME}$", minimum=1, examples=["90s", "1h30m"]),
]
Checksum = Annotated[
    str, BeforeValidator(parse_checksum), _schema("string", pattern="^[0-9a-fA-F]{64}$")
]
MessageId = Annotated[
    str, BeforeValidator(parse_message_id), _schema("string", pattern="^[0-9a-fA-F-]{32,36}$")
]
RevisionText = Annotated[
    str, BeforeValidator(parse_revision), _schema("string", pattern="(^|-g)[0-9a-f]{40}$")
]
Architecture = Annotated[
    str, BeforeValidator(parse_architecture), _schema("string", enum=list(ARCHITECTURES))
]
Name = Annotated[str, BeforeValidator(parse_name), _schema("string")]
UserName = Annotated[str, BeforeValidator(parse_user_name), _schema("string")]
Unit = Annotated[str, BeforeValidator(parse_unit), _schema("string")]
FilePath = Annotated[str, BeforeValidator(parse_file_path), _schema("string", pattern="^/")]
InnerPath = Annotated[str, BeforeValidator(parse_inner_path), _schema("string", pattern="^[^/-]")]
Line = Annotated[str, BeforeValidator(parse_line), _schema("string")]
Word = Annotated[str, BeforeValidator(parse_word), _schema("string", pattern="^\\S+$")]
Pattern = Annotated[str, BeforeValidator(parse_pattern), _schema("string", format="regex")]
Variable = Annotated[str, BeforeValidator(parse_variable), _schema("string")]
Package = Annotated[str, BeforeValidator(parse_package), _schema("string")]
DebianVersion = Annotated[str, BeforeValidator(parse_debian_version), _schema("string")]
Suite = Annotated[str, BeforeValidator(parse_suite), _schema("string")]
