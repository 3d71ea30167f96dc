"""Runs the smoke with other versions: `make test-versions`, or one case alone.

    python tests/versions/try_versions.py keras 3.13.2 torch
    python tests/versions/try_versions.py install "3.12 jax"
    python tests/versions/try_versions.py facts 3.13.2 torch

A version of Keras lies in a folder of its own before everything else of this environment, which so shares
its backends. An install is an environment of its own, made as a user makes one, from the wheel: README's
programs, then the smoke. What was found goes to `tests/saved/versions.json`, of which
`docs/make_versions.py` makes a page. Facts are the statements about Keras alone, of which
`docs/make_keras_facts.py` makes one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cases import BACKENDS, INSTALLS, KERAS, NIGHTLY, OF_FACTS, ON_ALL_BACKENDS, ROOT, keep

SMOKE = ROOT / "tests" / "versions" / "smoke.py"
README_SMOKE = ROOT / "tests" / "helpers" / "wheel_smoke.py"
HELD = Path(os.environ.get("FROSTLINE_VERSIONS", ROOT / ".versions"))
"""Where the versions are installed; they are kept for the next time."""

QUICK = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_COMPILATION_CACHE_DIR": str(HELD / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""On JAX most of the time goes into compiling, and versions of Keras ask for much the same programs."""


def main(words: list[str]) -> int:
    """Try what was asked for, or all; return how many cases failed."""
    failed = 0
    for kind, *rest in _asked(words):
        failed += not KINDS[kind](*rest)
    return failed


def _asked(words: list[str]) -> Iterable[list[str]]:
    if len(words) == 1:
        return [[words[0], *rest] for rest in _all()[words[0]]]
    return [words] if words else [[kind, *rest] for kind, several in _all().items() for rest in several]


def _all() -> dict[str, list[list[str]]]:
    """Everything that is tried, by its kind."""
    keras = [[one, on] for one in KERAS for on in BACKENDS if on == BACKENDS[0] or one in ON_ALL_BACKENDS]
    facts = [[one, on] for one in OF_FACTS for on in BACKENDS]
    return {"keras": keras, "install": [[one.name] for one in INSTALLS], "facts": facts}


def _with_keras(version: str, backend: str) -> dict[str, str]:
    """The environment in which another version of Keras comes first; it is installed where it is not."""
    folder = HELD / f"keras-{version}"
    if not folder.exists():
        what = [version, "--pre"] if version == NIGHTLY else [f"keras=={version}"]
        _call(
            [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *what]
        )
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    return {"PYTHONPATH": path, "KERAS_BACKEND": backend}


def try_keras(version: str, backend: str) -> bool:
    """Run the smoke with one version of Keras beside this environment's backends."""
    found = _smoked(sys.executable, _with_keras(version, backend))
    return _kept("keras", f"{version} {backend}", found)


def try_facts(version: str, backend: str) -> bool:
    """Measure what one version of Keras does; a statement that does not hold is a result, not a failure."""
    asked = {"FROSTLINE_KEEP_FACTS": "1", "FROSTLINE_KERAS_FACTS": "1", **_with_keras(version, backend)}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/each_backend",
        "-k",
        "test_keras_ and not test_keras_tools and not test_keras_hub",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(words, env=_environment(asked), cwd=ROOT)
    return done.returncode in (0, 1)  # all passed, or some failed; else it did not run


def try_install(name: str) -> bool:
    """Install the wheel as a user does, run README's programs and the smoke."""
    case = next(one for one in INSTALLS if one.name == name)
    python = _python(case.python)
    if python is None:
        print(f"not tried: {case.name}: there is no Python {case.python} here")
        return True
    folder = HELD / case.name.replace(" ", "-").replace("=", "")
    program = str(folder / "bin" / "python")
    pip = [program, "-m", "pip", "install", "--quiet"]
    if not folder.exists():
        _call([python, "-m", "venv", str(folder)])
        if case.pins:
            _call([*pip, *case.pins])
        _call([*pip, f"{_wheel()}[{case.extra}]"])
    else:
        _call([*pip, "--no-deps", "--force-reinstall", str(_wheel())])
    with tempfile.TemporaryDirectory() as home:
        # As a new user has it: no backend chosen, no settings of Keras.
        plain = {"KERAS_HOME": home}
        readme = _output([program, str(README_SMOKE), str(ROOT / "README.md")], plain)
        found = _smoked(program, plain)
    return _kept("installs", case.name, found and {**found, "readme": readme})


KINDS = {"keras": try_keras, "install": try_install, "facts": try_facts}


def _kept(kind: str, name: str, found: dict[str, Any] | None) -> bool:
    """Keep what was found, and return whether all of it passed."""
    if found is None:
        print(f"{name}: the smoke did not come to its end")
        return False
    keep(kind, name, found)
    print(f"{name}: {found['passed']} of {found['steps']} passed {found['failed'] or ''}", flush=True)
    return not found["failed"] and found.get("readme", "ok") == "ok"


def _smoked(program: str, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Run the smoke; return what it ran on, and what failed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "result.json")
        subprocess.run([program, str(SMOKE), "--out", str(out)], env=_environment(environment), cwd=folder)
        if not out.exists():
            return None
        about = json.loads(out.read_text(encoding="utf-8"))
    steps = {name: said for name, said in about.pop("steps").items() if said != "not for this backend"}
    failed = {name: said for name, said in steps.items() if said != "ok"}
    about.pop("seconds")
    return {**about, "steps": len(steps), "passed": len(steps) - len(failed), "failed": failed}


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: one for name, one in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    return {**kept, **QUICK, **more}


def _python(version: str) -> str | None:
    """Where a version of Python is, on the path or among pyenv's."""
    if found := shutil.which(f"python{version}"):
        try:
            subprocess.run([found, "-c", ""], check=True, capture_output=True)
            return found
        except subprocess.CalledProcessError:
            pass  # a shim of pyenv without that version behind it
    held = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(held[-1]) if held else None


def _wheel() -> Path:
    """Build the wheel of these sources as they are now."""
    folder = HELD / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    _call([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)])
    return next(folder.glob("*.whl"))


def _call(words: list[str]) -> None:
    subprocess.run(words, check=True, env=_environment({}))


def _output(words: list[str], environment: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            words, env=_environment(environment), cwd=folder, capture_output=True, text=True
        )
    return "ok" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1][:300]


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
