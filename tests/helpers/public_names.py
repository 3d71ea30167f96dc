"""What users write and programs read: exported names, the command line, the JSON Schemas of files.

`tests/saved/public_names.json` holds them as they are meant to be. To renew it, on purpose:

    python tests/helpers/public_names.py --write

Imports neither Keras nor a backend.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
import tomllib
from collections.abc import Iterator
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

import frostline

ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "tests" / "saved" / "public_names.json"
RENEW = "python tests/helpers/public_names.py --write"


def public_names() -> dict[str, Any]:
    """All that is public, as JSON has it."""
    found = {
        "frostline": sorted(frostline.__all__),
        "frostline.callbacks": sorted(names_of("frostline.callbacks")),
        "frostline.layers": sorted(names_of("frostline.layers")),
        "commands": commands(),
        "schemas": schemas(),
    }
    return dict(json.loads(json.dumps(found)))


def names_of(module: str) -> list[str]:
    """`__all__` of a module, which is read and not imported, since that would import Keras."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    for statement in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return list(ast.literal_eval(statement.value))
    raise AssertionError(f"{spec.origin} has no __all__")


def commands() -> dict[str, Any]:
    """The options and arguments of every command, by the words that call it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module = importlib.import_module(scripts["frostline"].partition(":")[0])
    app = next(value for value in vars(module).values() if isinstance(value, typer.Typer))
    return dict(_commands("frostline", typer.main.get_command(app)))


def _commands(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    names = [one.name for one in command.params if not _is_option(one)]
    options = {one.name: _told(one) for one in command.params}
    yield words, {"arguments in order": names, **options}
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(f"{words} {name}", one)


def _is_option(parameter: Any) -> bool:
    return parameter.opts[0].startswith("-")


def _told(parameter: Any) -> dict[str, Any]:
    default = parameter.default
    told = {
        "required": parameter.required,
        "default": None if default is None else str(getattr(default, "value", default)),
        "several": parameter.multiple or parameter.nargs != 1,
    }
    if _is_option(parameter):
        told["flags"] = [*parameter.opts, *parameter.secondary_opts]
    if isinstance(default, Enum):
        told["choices"] = [one.value for one in type(default)]
    return told


def schemas() -> dict[str, Any]:
    """The published JSON Schemas, without what they say to people; other tests hold them to the code."""
    folder = ROOT / "docs" / "schemas"
    return {path.stem: _unsaid(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}


def _unsaid(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_unsaid(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    # Text alone is a description: a property may be called so too.
    kept = {key: one for key, one in schema.items() if key != "description" or not isinstance(one, str)}
    return {key: _unsaid(one) for key, one in kept.items()}


def differences(before: Any, now: Any, at: str = "") -> Iterator[str]:
    """One line for each thing that came, went or changed."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*before, *now)):
            place = f"{at} > {key}" if at else key
            if key not in now:
                yield f"gone: {place}"
            elif key not in before:
                yield f"new: {place}"
            else:
                yield from differences(before[key], now[key], place)
    elif isinstance(before, list) and isinstance(now, list) and before != now:
        changes = [f"without {one!r}" for one in before if one not in now]
        changes += [f"with {one!r}" for one in now if one not in before]
        yield f"changed: {at}: {', '.join(changes) or 'in another order'}"
    elif before != now:
        yield f"changed: {at}: {before!r} became {now!r}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        SNAPSHOT.write_text(json.dumps(public_names(), indent=1) + "\n")
    else:
        sys.exit(f"usage: {RENEW}")
