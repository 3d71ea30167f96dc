"""Nothing public comes, goes or changes by accident; `helpers/public_names.py` says what is public."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import frostline as fl
from helpers import public_names
from helpers.public_names import RENEW, SNAPSHOT, differences


def test_what_is_public_is_what_is_meant_to_be() -> None:
    found = list(differences(json.loads(SNAPSHOT.read_text()), public_names.public_names()))
    listed = "\n  ".join(found)
    assert not found, f"what is public changed:\n  {listed}\nif that is meant, renew the snapshot: {RENEW}"


def test_the_snapshot_covers_the_schemas_that_can_be_asked_for() -> None:
    held = json.loads(SNAPSHOT.read_text())["schemas"]
    assert held["plan"]["properties"].keys() == fl.plan_schema()["properties"].keys()
    assert held["run"]["properties"].keys() == fl.run_schema()["properties"].keys()


def test_looking_imports_neither_keras_nor_a_backend() -> None:
    script = Path(public_names.__file__)
    heavy = ("keras", "jax", "torch", "tensorflow")
    code = (
        f"import sys; sys.path.insert(0, {str(script.parents[1])!r}); from helpers import public_names; "
        f"public_names.public_names(); print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_differences_are_named_by_their_place() -> None:
    before = {"commands": {"fit": {"json": {"default": "False"}, "force": {}}}, "frostline": ["a", "b"]}
    now = {"commands": {"fit": {"json": {"default": "True"}, "quiet": {}}}, "frostline": ["b", "c"]}
    assert list(differences(before, now)) == [
        "changed: commands > fit > json > default: 'False' became 'True'",
        "gone: commands > fit > force",
        "new: commands > fit > quiet",
        "changed: frostline: without 'a', with 'c'",
    ]
    assert not list(differences(before, before))
