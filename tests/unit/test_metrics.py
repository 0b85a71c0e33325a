# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text that Prometheus reads, read by its own parser."""

import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from pipeline.words.metrics import Family, Samples, by, exposition, one

TOP = Path(__file__).resolve().parents[2]
ALERTS = TOP / "ansible" / "roles" / "ostci" / "files" / "ostci-alerts.yml"


def test_whatever_a_label_holds_comes_back() -> None:
    hostile = 'a "b" \\ c\nd} 7'
    family = Family(
        name="ostci_x_total",
        kind="counter",
        help="With \\ and\nlines.",
        samples=by("n", {hostile: 3}),
    )
    (read,) = text_string_to_metric_families(exposition((family,)))
    (sample,) = read.samples
    assert (read.documentation, read.type) == ("With \\ and\nlines.", "counter")
    assert (sample.labels, sample.value) == ({"n": hostile}, 3.0)


def test_a_summary_is_one_family_and_what_is_empty_is_left_out() -> None:
    labels = (("stage", "build"),)
    sums: Samples = {("_sum", labels): 1e9, ("_count", labels): 2.0}
    families = (
        Family(name="a_seconds", kind="summary", help="A.", samples=sums),
        Family(name="b", kind="gauge", help="B."),
        Family(name="c", kind="gauge", help="C.", samples=one(float("nan"))),
    )
    read = {found.name: found for found in text_string_to_metric_families(exposition(families))}
    assert set(read) == {"a_seconds", "c"}
    assert {sample.name: sample.value for sample in read["a_seconds"].samples} == {
        "a_seconds_sum": 1e9,
        "a_seconds_count": 2.0,
    }


def test_the_rules_ask_for_figures_that_there_are() -> None:
    rules = yaml.safe_load((ALERTS).read_text())
    asked = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    source = (TOP / "pipeline" / "master" / "metrics.py").read_text()
    names = set(re.findall(r"ostci_(\w+)", asked))
    assert len(names) >= 6
    for name in names:
        assert f'"{name}"' in source or f'"ostci_{name}"' in source, name
