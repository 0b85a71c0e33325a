# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every URL has a place of its own among the mirrors, and submodules stay where they may be."""

import pytest

from pipeline.words.errors import Failed
from pipeline.words.mirror_names import absolute_url, mirror_place

PLACES = {
    "https://git.example/a/zlib.git": "https/git.example/a/zlib.git",
    "https://git.example/a/zlib": "https/git.example/a/zlib.bare",
    "https://git.example/a/zlib.git/inner": "https/git.example/a/zlib%2Egit/inner.bare",
    "https://git.example:8443/zlib.git": "https/git.example%3A8443/zlib.git",
    "https://git.example/../../etc": "https/git.example/.%2E/.%2E/etc.bare",
    "ssh://me@git.example/zlib.git": "ssh/me@git.example/zlib.git",
    "me@git.example:~me/zlib.git": "ssh/me@git.example/~me/zlib.git",
    "/srv/git/zlib": "file/srv/git/zlib.bare",
    "file:///srv/git/zlib": "file/srv/git/zlib.bare",
    "https://git.example/a?b=c": "https/git.example/a%3Fb=c.bare",
}


@pytest.mark.parametrize("url", PLACES)
def test_a_mirror_lies_by_scheme_host_and_path(url: str) -> None:
    assert mirror_place(url) == PLACES[url]


RELATIVE = [
    ("../lib.git", "https://git.example/a/b.git", "https://git.example/a/lib.git"),
    ("./lib.git", "https://git.example/a/b.git", "https://git.example/a/b.git/lib.git"),
    ("../../x/lib", "me@git.example:a/b.git", "me@git.example:x/lib"),
    ("../lib", "/srv/git/b", "/srv/git/lib"),
    ("../lib", "file:///srv/git/b", "file:///srv/git/lib"),
    ("https://other.example/lib", "https://git.example/b", "https://other.example/lib"),
    ("/srv/git/lib", "/srv/git/b", "/srv/git/lib"),
]


@pytest.mark.parametrize(("url", "parent", "found"), RELATIVE)
def test_a_relative_url_is_taken_from_its_parents(url: str, parent: str, found: str) -> None:
    assert absolute_url(url, parent) == found


@pytest.mark.parametrize("url", ["ext::sh -c id", "--upload-pack=id", "fd::7", "http:///x"])
def test_a_submodule_is_held_to_the_same_list_of_urls(url: str) -> None:
    with pytest.raises(Failed, match="a submodule's URL is not let through"):
        absolute_url(url, "https://git.example/b.git")


@pytest.mark.parametrize("url", ["/etc/secret.git", "file:///etc/secret.git"])
def test_a_server_cannot_name_repositories_of_this_machine(url: str) -> None:
    with pytest.raises(Failed, match="said to be on this machine"):
        absolute_url(url, "https://git.example/b.git")
