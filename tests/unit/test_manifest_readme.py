# SPDX-License-Identifier: LGPL-2.1-or-later
"""manifests/README.md tells of every key there is, and of none that is not; its examples work."""

import io
import json
import re
from pathlib import Path

import pytest
import yaml

from pipeline.cli.manifest_commands import schema
from pipeline.words import manifest_schema as ms
from pipeline.words.manifest_text import read_manifest
from tests.manifests import SMALLEST

README = Path(__file__).resolve().parents[2] / "manifests" / "README.md"
SECTIONS: dict[str, set[type[ms.Keys]]] = {
    "The manifest": {ms.ManifestKeys},
    "Base": {ms.BaseKeys},
    "debian": {ms.DebianKeys},
    "tar": {ms.TarKeys},
    "ostree": {ms.OstreeKeys},
    "Components": {ms.ComponentKeys},
    "sources": {ms.SourcesKeys},
    "build": {ms.BuildKeys},
    "limits": {ms.LimitsKeys},
    "requires": {ms.RequiresKeys},
    "child-components": {ms.SourceKeys},
    "Patches": {ms.PatchSourceKeys},
    "Targets": {ms.TargetKeys},
    "session": {ms.SessionKeys},
    "Tests": {ms.TestsKeys},
    "smoke": {ms.SmokeKeys},
    "known": {ms.KnownKeys},
    "Gates": {ms.GateKeys},
    "Triggers": {ms.TriggerKeys},
    "Retention": {ms.RetentionKeys},
    "Epochs": {ms.EpochKeys, ms.BuildEpochKeys},
}


def sections() -> dict[str, str]:
    parts = re.split(r"^##+ (.+)$", README.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", README.read_text(), flags=re.M | re.S)


def models() -> set[type[ms.Keys]]:
    found = {one for one in vars(ms).values() if isinstance(one, type) and issubclass(one, ms.Keys)}
    return found - {ms.Keys, ms.PinKeys, ms.ArchivePinKeys}


def test_every_mapping_of_the_schema_has_a_section() -> None:
    assert set().union(*SECTIONS.values()) == models()


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_has_exactly_the_keys_of_the_schema(title: str) -> None:
    rows = re.findall(r"^\| `([^`]+)` \|(.+)\|(.*)\|(.+)\|$", sections()[title], flags=re.M)
    keys = {key for kind in SECTIONS[title] for key in ms.names_of(kind)}
    assert {row[0] for row in rows} == keys
    assert len(rows) == len(keys), "each key has one row"
    assert all(row[1].strip() and row[3].strip() for row in rows)


@pytest.mark.parametrize("number", range(len(examples())))
def test_an_example_is_good_beside_the_smallest_manifest(number: int) -> None:
    text = examples()[number]
    whole = {**yaml.safe_load(SMALLEST), **yaml.safe_load(text)}
    reading = read_manifest(json.dumps(whole), "README", relative_to="/manifests")
    assert [*map(str, reading.problems), *map(str, reading.warnings)] == []


def test_the_first_example_is_whole_and_small() -> None:
    first = examples()[0]
    assert first.count("\n") <= 10
    assert read_manifest(first, "README", relative_to="/").problems == ()


def test_every_link_leads_to_a_section() -> None:
    anchors = {title.lower().replace(" ", "-") for title in sections()}
    assert set(re.findall(r"\]\(#([^)]+)\)", README.read_text())) <= anchors


def test_the_schema_for_editors_describes_every_key() -> None:
    out = io.StringIO()
    schema(out)
    told = json.loads(out.getvalue())
    assert told["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert told["required"] == ["osname", "base", "components"]
    assert told["additionalProperties"] is False
    assert set(told["properties"]) == set(ms.names_of(ms.ManifestKeys))
    for model in (told, *told["$defs"].values()):
        for key, value in model.get("properties", {}).items():
            assert value.get("description"), key


@pytest.mark.parametrize("sample", sorted(README.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_sample_is_a_manifest_without_a_problem_or_a_warning(sample: Path) -> None:
    found = read_manifest(sample.read_text(), sample.name, relative_to=str(sample.parent))
    assert (found.problems, found.warnings) == ((), ())
