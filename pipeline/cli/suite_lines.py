# SPDX-License-Identifier: LGPL-2.1-or-later
"""What suites came to, in lines for people: one a suite, and one a test that did not go well."""

from collections.abc import Iterator, Sequence

from pipeline.words.verdict import SuiteResult, Verdict, verdict_counts

_TOLD = (Verdict.TROUBLE, Verdict.FAILED, Verdict.FLAKY)
_MOST = 20


def summary(results: Sequence[SuiteResult]) -> str:
    """Sum up what suites came to, in a few words."""
    if len(results) == 1:
        return f"{results[0].tree} {results[0].suite} {results[0].verdict}"
    return f"{len(results)} suites: {verdict_counts([one.verdict for one in results])}"


def suite_lines(results: Sequence[SuiteResult]) -> Iterator[str]:
    """Write what suites came to, in their order."""
    names = [f"{one.tree} {one.suite}" for one in results]
    width = max(map(len, names), default=0)
    for name, one in zip(names, results, strict=True):
        said = one.counts if one.tests else one.message
        yield f"{name:<{width}}  {one.verdict:<7} {one.seconds:7.1f} s  {said}".rstrip()
        bad = [test for test in one.tests if test.verdict in _TOLD]
        for test in bad[:_MOST]:
            yield f"  {test.verdict} {test.name}: {test.message}"
        if len(bad) > _MOST:
            yield f"  and {len(bad) - _MOST} more"
