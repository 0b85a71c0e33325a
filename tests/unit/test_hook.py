# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks: whose signature counts, and which repository is meant."""

import hashlib
import hmac
import json

import pytest

from pipeline.words.errors import BadInput
from pipeline.words.hook import is_signed, named_of, place_of_repository, read_body, urls_of
from pipeline.words.named import Named

SECRET = "correct horse"
BODY = json.dumps({"repository": {"clone_url": "https://forge.example/a/zlib.git"}}).encode()
GOOD = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("kind", "header", "value"),
    [
        ("github", "x-hub-signature-256", f"sha256={GOOD}"),
        ("gitlab", "x-gitlab-token", SECRET),
        ("gitea", "x-gitea-signature", GOOD),
        ("plain", "x-ostci-signature", f"sha256={GOOD}"),
    ],
)
def test_each_kind_is_signed_in_its_own_way(kind: str, header: str, value: str) -> None:
    assert is_signed(kind, {header: value}, BODY, SECRET)
    assert not is_signed(kind, {header: value[:-1] + "x"}, BODY, SECRET)
    assert not is_signed(kind, {}, BODY, SECRET)
    assert not is_signed(kind, {header: ""}, BODY, "")
    assert not is_signed(kind, {header: "schlüssel"}, BODY, SECRET)
    if kind != "gitlab":
        assert not is_signed(kind, {header: value}, BODY + b" ", SECRET)


def test_the_old_signature_of_github_does_not_count() -> None:
    old = "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()
    assert not is_signed("github", {"x-hub-signature": old}, BODY, SECRET)


def test_the_repository_is_found_in_the_bodies_of_all_forges() -> None:
    assert urls_of(read_body({}, BODY)) == ("https://forge.example/a/zlib.git",)
    gitlab = {"project": {"git_ssh_url": "git@forge.example:a/zlib.git", "id": 7}}
    assert urls_of(read_body({}, json.dumps(gitlab).encode())) == ("git@forge.example:a/zlib.git",)
    assert urls_of(read_body({}, b'{"url": "file:///srv/zlib"}')) == ("file:///srv/zlib",)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert urls_of(read_body(form, b"payload=%7B%22url%22%3A%22x%3A%2F%2Fy%22%7D")) == ("x://y",)
    assert urls_of(read_body(form, b'{"url": "x://y"}')) == ("x://y",)
    assert urls_of(read_body({}, b'{"repository": {"url": 7}}')) == ()


def test_the_push_is_found_in_the_bodies_of_all_forges() -> None:
    url, old, new = "https://forge.example/a/zlib.git", "a" * 40, "b" * 40
    told = {"ref": "refs/heads/topic/x", "before": old, "after": new}
    named = Named(branch="topic/x", before=old, after=new)
    body = {**told, "repository": {"clone_url": url}}
    assert (urls_of(body), named_of(body)) == ((url,), named)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"ref": "refs/tags/v1"}, {"ref": 7}, {"ref": "main"}, {"before": None}, {"after": []}),
        *({"before": "--help"}, {"after": "main"}, {"after": "b" * 41}),
    ],
)
def test_what_is_no_push_to_a_branch_is_just_a_repository(wrong: dict[str, object]) -> None:
    told = {"url": "x://y", "ref": "refs/heads/main", "before": "a" * 40, "after": "b" * 40}
    assert named_of(told) is not None
    assert named_of({**told, **wrong}) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe", b"7"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput, match="the hook's body is no"):
        read_body({}, body)


def test_all_addresses_of_a_repository_are_one_place() -> None:
    same = (
        "https://forge.example/a/zlib.git",
        "https://FORGE.example/a/zlib",
        "ssh://git@forge.example:22/a/zlib.git",
        "git@forge.example:a/zlib.git",
        "https://forge.example:443/a/zlib/",
    )
    assert {place_of_repository(url) for url in same} == {"forge.example/a/zlib"}
    assert place_of_repository("https://forge.example/a/zlib2") != place_of_repository(same[0])
    assert place_of_repository("file:///srv/git/zlib") == "/srv/git/zlib"
    assert place_of_repository("/srv/git/zlib") == "/srv/git/zlib"
