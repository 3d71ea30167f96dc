"""Which modules an archive may have imported: those of a table, which is whole."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

import frostline
from frostline.model import loading

ROOT = Path(frostline.__file__).parent


def test_the_table_has_every_module_that_registers_a_class() -> None:
    registering = {
        f"frostline.{folder}.{path.stem}"
        for folder in ("layers", "demo")
        for path in (ROOT / folder).glob("*.py")
        if "\n@keras.saving.register_keras_serializable" in path.read_text(encoding="utf-8")
    }
    assert set(loading._OWN_MODULES) == registering


@pytest.mark.parametrize("name", ["mine_at_import", "frostline.demo.words", "frostline.layers.mine", "os"])
def test_an_archive_chooses_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "mine_at_import.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked_for: list[str] = []
    monkeypatch.setattr(loading.importlib, "import_module", asked_for.append)
    archive = tmp_path / "model.keras"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("config.json", json.dumps({"module": name, "class_name": "frostline.demo"}))
    loading._import_own_classes(archive)
    assert asked_for == []
    assert "mine_at_import" not in sys.modules


def test_what_an_archive_names_of_the_table_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[str] = []
    monkeypatch.setattr(loading.importlib, "import_module", imported.append)
    archive = tmp_path / "model.keras"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("config.json", json.dumps({"module": "frostline.layers.hybrid"}))
    loading._import_own_classes(archive)
    assert imported == ["frostline.layers.hybrid"]
