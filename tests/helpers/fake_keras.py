"""A process that finds a stand-in for Keras, and of its backends those that a test wants it to find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BACKENDS = ("jax", "torch", "tensorflow")

_INIT = """
from keras import config as config
from keras.backend import backend as backend
"""

# As Keras 3.15 does it: first its file, which it writes where there is none, then the variable.
_CONFIG = """
import json, os
home = os.path.expanduser(os.environ["KERAS_HOME"])
path = os.path.join(home, "keras.json")
chosen = "tensorflow"
if os.path.exists(path):
    try:
        with open(path) as file:
            chosen = json.load(file).get("backend", chosen)
    except ValueError:
        pass
else:
    os.makedirs(home, exist_ok=True)
    with open(path, "w") as file:
        json.dump({"backend": chosen}, file)
chosen = os.environ.get("KERAS_BACKEND") or chosen
"""

_BACKEND = """
import importlib
from keras.config import chosen
importlib.import_module(chosen)
def backend():
    return chosen
"""

_HIDING = """
import sys
class _Hiding:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, _Hiding())
"""


class FakeKeras:
    """Folders with a stand-in for Keras and for the backends that are there."""

    def __init__(self, folder: Path, *installed: str) -> None:
        self.packages, self.home = folder / "packages", folder / "home"
        self.settings = self.home / "keras.json"
        self._installed = set(installed)
        self.write("keras/__init__.py", _INIT)
        self.write("keras/config.py", _CONFIG)
        self.write("keras/backend.py", _BACKEND)
        for name in installed:
            self.write(f"{name}/__init__.py", "")

    def write(self, name: str, text: str) -> None:
        """Write a file of the packages."""
        path = self.packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def configure(self, settings: object) -> None:
        """Write Keras's file of settings."""
        self.home.mkdir(exist_ok=True)
        text = settings if isinstance(settings, str) else json.dumps(settings)
        self.settings.write_text(text, encoding="utf-8")

    def run(self, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program there, with nothing chosen but what `environment` says."""
        hidden = {name for name in BACKENDS if name not in self._installed}
        kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        path = os.pathsep.join([str(self.packages), *sys.path[1:]])
        return subprocess.run(
            [sys.executable, "-c", _HIDING.format(hidden=hidden) + code],
            env={**kept, "KERAS_HOME": str(self.home), "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
        )
