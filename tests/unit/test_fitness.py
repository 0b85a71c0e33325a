# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker gets work when it is fit; else it is said in words why not."""

from dataclasses import replace

import pytest

from pipeline.words.fitness import GIB, Capabilities, in_words, properties, why_aside

FIT = Capabilities(
    version="1",
    arch="x86_64",
    user=0,
    cores=4,
    memory=8 * GIB,
    free=20 * GIB,
    room=10 * GIB,
    kvm=True,
)


def test_who_is_fit_gets_work() -> None:
    assert why_aside(FIT, "1") == ""
    assert in_words(FIT) == "ostci 1, x86_64, 4 cores, 8 GiB memory, 20 GiB of disk free, KVM"
    assert properties(FIT)["kvm"] is True


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "it did not say what it can"),
        (replace(FIT, version="2"), "it has ostci 2, the master 1: install the master's"),
        (replace(FIT, wrong=("sandbox: no",)), "its self-test failed: sandbox: no"),
        (replace(FIT, free=GIB), "too little disk: 1.0 GiB are free, it wants 10.0"),
    ],
)
def test_who_is_not_is_told_why(told: Capabilities | None, words: str) -> None:
    assert words in why_aside(told, "1")
