# SPDX-License-Identifier: LGPL-2.1-or-later
"""Components that are built by name, whatever their names are."""

import json
from pathlib import Path

from tests.cheap import Cheap


def test_a_component_may_have_the_name_of_a_file(tmp_path: Path) -> None:
    cheap = Cheap(tmp_path, **{"x": 0, "x.json": 0})
    cheap.ostci("resolve")
    (version,) = cheap.house().workdir.versions()
    for name in ("x", "x.json"):
        told = cheap.json("build", name, "--run", version)
        assert (told["component"], told["outcome"]) == (name, "built")
    cheap.ostci("build", "--run", version)
    run = cheap.house().workdir.run(version)
    assert json.loads(run.file("build").read_text())["built"] == ["x", "x.json"]
    assert all((run.component(name) / "log.txt").is_file() for name in ("x", "x.json"))
