"""The output folder of a run: one run at a time, gone on with after an interruption, never overwritten.

run.yaml           the config, as it was
plan.yaml          the plan that it names or holds; its masks, if any, in plan.mask-*.npy
run.json           what the run is, and whether it is finished
log.txt            everything that was said
history.csv        one line for each epoch
checkpoints/       where an interrupted run goes on; removed at the end
model.keras        the trained model
model.weights.h5   its weights alone; only where model.keras cannot be opened again
delta.safetensors  only what of it changed
receipt.json       what moved, for `frostline verify`
classes.json       the label behind each output, where the data has labels
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from frostline.data.sources import KINDS
from frostline.errors import OutputFolderError, ResumeError, listed
from frostline.files.atomic import write_atomically
from frostline.files.json_text import as_in_json, parsed_json
from frostline.files.lock import LOCK, locked, require_unlocked
from frostline.files.reading import kind_of, read_bytes, read_text
from frostline.render.foreign import warn
from frostline.runs.config import RunConfig
from frostline.runs.data import digest_file
from frostline.training.resume.checkpoint import remove_all

SCHEMA = 1
_CALLED = ("output folder", "name another folder under output:")
Status = Literal["running", "finished"]

_RECORD = "run.json"
WEIGHTS = "model.weights.h5"
_CHECKPOINTS = "checkpoints"
_FILES = (
    *("run.yaml", "plan.yaml", "log.txt", "history.csv"),
    *("model.keras", WEIGHTS, "delta.safetensors", "receipt.json", "classes.json", _RECORD),
)
"""In the order in which they are removed: a kill before the record goes leaves an unfinished run."""

_MASK = re.compile(r"plan\.mask-([0-9a-f]{12})\.npy")
"""The names of the masks that belong to `plan.yaml`, with the beginning of the digest of what they hold."""


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """The folder of a run that has it for itself.

    Attributes:
        path: The folder.
        resumed: Whether an interrupted run goes on in it.
    """

    path: Path
    resumed: bool

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, text: str) -> None:
        """Write a file of the run whole."""
        write_atomically(self.path / name, text.encode(), OutputFolderError)

    def note(self, identity: Mapping[str, Any], status: Status) -> None:
        """Write down what the run is and how far it is."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        data = {"frostline_run": SCHEMA, "status": status, "noted": now, **identity}
        self.write(_RECORD, json.dumps(data, indent=2) + "\n")

    def finish(self, identity: Mapping[str, Any]) -> None:
        """Write down that the run is over; nothing is left to go on with."""
        self.note(identity, "finished")
        _remove_checkpoints(self.path)


def _remove_checkpoints(path: Path) -> None:
    try:
        remove_all(path / _CHECKPOINTS)
    except ResumeError as problem:
        warn(f"{problem.what}; the run is finished all the same", stacklevel=3)


def tidy_finished(config: RunConfig) -> None:
    """Remove the checkpoints of a finished run that was killed just before it had removed them.

    Raises:
        OutputFolderError: The folder is in use, or its record cannot be read.
    """
    path = config.output
    if (path / _CHECKPOINTS).is_dir() and (_state(path) or {}).get("status") == "finished":
        with locked(path, OutputFolderError, *_CALLED):
            _remove_checkpoints(path)


@contextmanager
def output_folder(
    config: RunConfig, identity: Mapping[str, Any], *, overwrite: bool
) -> Iterator[OutputFolder]:
    """Take the output folder of a run until the end of the block.

    Args:
        config: Names it.
        identity: What the run is, from `identity_of`.
        overwrite: Whether to begin anew where there is a run, finished or not.

    Raises:
        OutputFolderError: It is in use by another process, holds a finished run, an unfinished one that was
            another, or files of no run, or cannot be written to. Nothing in it has changed then.
    """
    path = config.output
    with locked(path, OutputFolderError, *_CALLED):
        folder = OutputFolder(path, require_available(config, identity, overwrite=overwrite, reserved=True))
        if not folder.resumed:
            _clear(path)
        # First: what is found beside a record belongs to a run, and what is found without one to the user.
        folder.note(identity, "running")
        if not folder.resumed:
            folder.write("run.yaml", read_text(config.path, OutputFolderError, "run config"))
            config.plan.save(path / "plan.yaml")
        yield folder


def require_available(
    config: RunConfig, identity: Mapping[str, Any], *, overwrite: bool, reserved: bool = False
) -> bool:
    """Look whether a run may write to its folder, without touching anything.

    Args:
        config: Names the folder.
        identity: What the run is.
        overwrite: Whether to begin anew where there is a run.
        reserved: Whether this process has the lock of the folder.

    Returns:
        Whether an interrupted run goes on there. One without a single whole epoch begins anew.

    Raises:
        OutputFolderError: It is in use, holds a finished run, an unfinished one that was another, or files of
            no run.
    """
    path = config.output
    if not reserved:
        require_unlocked(path, OutputFolderError, *_CALLED)
    state = _state(path)
    if state is None:
        _require_free(path)
        return False
    _require_removable(config)
    if overwrite:
        return False
    _require_unfinished(config, state)
    if not (path / "history.csv").exists():
        return False
    _require_same(path, state, identity)
    return True


def identity_of(config: RunConfig, backend: str) -> dict[str, Any]:
    """Return what must be the same for an interrupted run to go on: settings, and digests of its files."""
    settings = config.data.model_dump(mode="json", by_alias=True, exclude_none=True)
    settings.pop("output")
    settings["plan"] = config.plan.to_data()
    return {"settings": settings, "backend": backend, "files": _digests(config)}


def _named(config: RunConfig) -> list[str]:
    """Return the files, and the functions, that a config names."""
    named = [config.data.model]
    for source in (config.data.data, config.validation):
        if source is None:
            continue
        kind = next(kind for kind in KINDS if hasattr(source, kind))
        named.append(getattr(source, kind))
    return named + list(config.data.callbacks)


def _digests(config: RunConfig) -> dict[str, str]:
    found = {}
    for name in _named(config):
        path = config.file(name)
        if kind_of(path) is None and ":" in name:
            # The module of a function, where it is the user's own.
            path = config.folder / f"{name.partition(':')[0].replace('.', '/')}.py"
        if kind_of(path) is not None:
            found[name] = digest_file(path)
    return found


def _state(path: Path) -> dict[str, Any] | None:
    """Return what run.json says; None where there is none."""
    if kind_of(path / _RECORD) is None:
        return None
    text = read_text(path / _RECORD, OutputFolderError, "run record")
    try:
        state = parsed_json(text)
    except ValueError:
        state = None
    if not isinstance(state, dict) or state.get("frostline_run") != SCHEMA:
        raise OutputFolderError(
            f"{str(path / 'run.json')!r} is not a run record that this version can read",
            remedy="name another folder under output:, or remove this one",
        )
    return state


def _require_free(path: Path) -> None:
    if kind_of(path) not in (None, "folder"):
        raise OutputFolderError(
            f"the output folder {str(path)!r} is a file", remedy="name another folder under output:"
        )
    present = path.iterdir() if path.is_dir() else ()
    # The record is the first file of a run; of one that was killed before, a lock and half a record are left.
    others = sorted(p.name for p in present if p.name != LOCK and not p.name.startswith(f".{_RECORD}."))
    if others:
        raise OutputFolderError(
            f"the output folder {str(path)!r} holds files that do not belong to a run",
            received=listed(others),
            expected="an empty folder, or one that does not exist yet",
            remedy="name another folder under output:",
        )


def _require_removable(config: RunConfig) -> None:
    """Refuse a folder in which a run would remove or overwrite what it reads, or folders of the user's."""
    path = config.output
    plan = [config.data.plan] if isinstance(config.data.plan, str) else []
    read = [config.path, *(config.file(name) for name in (*_named(config), *plan))]
    written = {(path / name).resolve() for name in _FILES}
    lost = [str(file) for file in read if file.resolve() in written]
    folders = [str(path / name) for name in _FILES if (path / name).is_dir()]
    if lost or folders:
        raise OutputFolderError(
            f"a run in the output folder {str(path)!r} would remove what it did not write",
            received=listed([*lost, *folders]),
            expected="a folder with no files that the run reads, and no folders by the names of its results",
            remedy="name another folder under output:",
        )


def _require_unfinished(config: RunConfig, state: Mapping[str, Any]) -> None:
    if state.get("status") == "finished":
        raise OutputFolderError(
            f"the output folder {str(config.output)!r} holds a finished run",
            received=f"finished {state.get('noted')}",
            remedy="name another folder under output:, or replace that run with --overwrite",
        )


def _require_same(path: Path, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse to go on with another run than the one that was interrupted."""
    # As JSON has it, where a tuple is a list.
    now = as_in_json(identity)
    changes = list(_changes({**_SINCE_0_1, **state.get("settings", {})}, now["settings"]))
    if now["backend"] != state.get("backend"):
        changes.append(f"backend: {now['backend']}, was {state.get('backend')}")
    files = state.get("files", {})
    changes += [f"{name} has other contents" for name, d in now["files"].items() if files.get(name, d) != d]
    if changes:
        raise OutputFolderError(
            f"the output folder {str(path)!r} holds an unfinished run that was started with other settings",
            received="; ".join(changes[:6]) + (f"; and {len(changes) - 6} more" if changes[6:] else ""),
            expected="the same config and files, to continue it",
            remedy="undo the change, name another folder under output:, or start over with --overwrite",
        )


_SINCE_0_1 = {"watch": False}
"""Settings that configs of 0.1 did not have, as their runs were."""


def _changes(old: Any, new: Any, at: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            name = f"{at} {key}".strip()
            yield from _changes(old.get(key), new.get(key), name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _changes(one, other, f"{at} {number + 1}")
    elif old != new:
        yield f"{at}: {_short(new)}, was {_short(old)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _clear(path: Path) -> None:
    """Remove what an earlier run left: files by the names it gave them, and checkpoints with its manifest."""
    try:
        remove_all(path / _CHECKPOINTS)
        for mask in path.iterdir():
            if _is_mask(mask):
                mask.unlink()
        for name in _FILES:
            (path / name).unlink(missing_ok=True)
    except OSError as problem:
        raise OutputFolderError(
            f"cannot remove {str(problem.filename)!r}: {problem.strerror}",
            expected="a folder that you may write to",
            remedy="see to the cause, or name another folder under output:",
        ) from None
    except ResumeError as problem:
        raise OutputFolderError(problem.what, remedy=problem.remedy) from None


def _is_mask(path: Path) -> bool:
    """Whether a file is the mask of a plan that a run saved: its name is the digest of what it holds."""
    named = _MASK.fullmatch(path.name)
    if named is None or kind_of(path) != "file":
        return False
    return blake3(read_bytes(path, OutputFolderError, "mask")).hexdigest()[:12] == named[1]
