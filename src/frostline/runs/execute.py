"""One run from its config to its results."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from frostline.delta.contents import Delta
from frostline.delta.save import save_delta
from frostline.errors import FrostlineError, ModelFileError, OutputFolderError, RunError, listed, text_of
from frostline.model.user_code import defined_in, failure, imported, names_function
from frostline.plan.schedule import Schedule
from frostline.render.documents import json_text, shell_line
from frostline.render.tables import plain
from frostline.runs.config import RunConfig
from frostline.runs.folder import WEIGHTS, OutputFolder, output_folder
from frostline.runs.prepare import Prepared, describe, prepare
from frostline.runs.progress_bar import TrainingBar
from frostline.runs.run_log import EpochRecords, RunLog, write_rows
from frostline.saving.reopened import classes_in, require_opens, save_with_optimizer
from frostline.training.fit import fit
from frostline.training.run import Run
from frostline.training.watch.report import lines_of
from frostline.verification.digest import digest_array
from frostline.verification.receipt import Receipt


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        folder: Where its results are.
        run: What `fit` returned.
        last: The values of its last epoch, by name.
        seconds: How long this process took for it.
        resumed: Whether it went on with an interrupted one.
    """

    folder: Path
    run: Run
    last: Mapping[str, Any]
    seconds: float
    resumed: bool

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        verified = self.run.verification
        return {
            "frostline": 1,
            "output": str(self.folder),
            "resumed": self.resumed,
            "epochs": self.last.get("epoch"),
            "last": dict(self.last),
            "verified": verified.ok if verified else None,
            "seconds": round(self.seconds, 3),
        }


def execute(
    config: RunConfig, identity: Mapping[str, Any], console: Console, *, overwrite: bool = False
) -> Outcome:
    """Train as a config says, and write the results to its folder.

    An interrupted run in the folder goes on where it was.

    Args:
        config: What to do.
        identity: What the run is, from `identity_of`.
        console: Where it says what it does; with a bar, where that is a terminal.
        overwrite: Whether to begin anew where the folder holds a run.

    Raises:
        FrostlineError: Something does not fit, or the training failed; the log has more.
        KeyboardInterrupt: The user stopped it; the same call goes on.
    """
    began = time.monotonic()
    log = RunLog(console)
    with _warnings_in(log):
        with _working(console, f"loading {config.data.model} and the data"):
            prepared = prepare(config)
        with output_folder(config, identity, overwrite=overwrite) as folder:
            log.keep_in(folder / "log.txt")
            with _failures_in(log, config):
                _introduce(log, prepared, folder)
                run, rows = _train(prepared, folder, log)
                _write(prepared, folder, run, rows)
                folder.finish(identity)
                outcome = Outcome(
                    folder.path, run, rows[-1] if rows else {}, time.monotonic() - began, folder.resumed
                )
                _conclude(log, config, outcome)
    return outcome


def _introduce(log: RunLog, prepared: Prepared, folder: OutputFolder) -> None:
    config = prepared.config
    going_on = ", continuing where it was interrupted" if folder.resumed else ""
    log.say(f"run        {config.path} -> {folder.path}{going_on}", style="bold")
    for heading, text in describe(prepared):
        log.say(f"{heading:<10} {text}")
    log.say(f"on         {keras.backend.backend()}, seed {config.data.seed}")
    for note in dict.fromkeys(note for r in prepared.resolutions for note in r.notes):
        log.say(f"note       {note}")
    log.say()


def _train(prepared: Prepared, folder: OutputFolder, log: RunLog) -> tuple[Run, list[dict[str, Any]]]:
    phased = isinstance(prepared.config.plan, Schedule)
    width = max(len(phase.name) for phase in prepared.phases) if phased else 0
    records = EpochRecords(folder / "history.csv", log.say, prepared.epochs, width)
    bar = TrainingBar(log.console, steps=prepared.all_steps)
    drawn = [bar] if log.console.is_terminal else []
    try:
        run = fit(
            prepared.model,
            prepared.config.plan,
            prepared.x,
            callbacks=[*prepared.callbacks, records, *drawn],
            verbose=0,
            watch=prepared.config.data.watch,
            resume=folder / "checkpoints",
            **prepared.arguments,
        )
    finally:
        bar.close()
    return run, _rows(records.rows, run)


def _rows(rows: list[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """Return the rows with the phase, or the phases, of each epoch, as the history has them."""
    phases = run.history.history.get("phase")
    if not phases or len(phases) != len(rows):
        return rows
    return [{**row, "phase": phase} for row, phase in zip(rows, phases, strict=True)]


def _write(prepared: Prepared, folder: OutputFolder, run: Run, rows: list[dict[str, Any]]) -> None:
    classes = getattr(prepared.train, "classes", ())
    if classes:
        folder.write("classes.json", json_text(list(classes), letters=True) + "\n")
    if rows:
        write_rows(folder / "history.csv", rows)
    _require_verified(run)
    problem = _write_model(prepared, folder)
    if run.receipt is not None:
        save_delta(prepared.model, folder / "delta.safetensors", base=run, check=False)
        run.receipt.save(folder / "receipt.json")
    if problem is not None:
        _write_weights(prepared, folder)
        raise RunError(
            f"the training is over, but {problem.what}",
            received=problem.received,
            expected=problem.expected,
            remedy=f"nothing is lost: model.load_weights reads the weights from {str(folder / WEIGHTS)!r}, "
            "and delta.safetensors beside it has what changed; to have a file that opens: "
            f"{problem.remedy}",
        ) from problem
    _require_whole(folder, run)


def _require_verified(run: Run) -> None:
    """Refuse to call a run finished that ended with NaN, where a callback of the user's let it end."""
    if run.verification is not None:
        run.verification.require_ok()


def _write_model(prepared: Prepared, folder: OutputFolder) -> ModelFileError | None:
    """Write the model and open it again; return why that does not work, where it is the model's fault."""
    temporary, place = folder / ".run.model.keras", folder / "model.keras"
    try:
        save_with_optimizer(prepared.model, temporary, place)
        temporary.replace(place)
        _require_opens(prepared, place)
    except OSError as error:
        raise _unwritten(place, error) from None
    except ModelFileError as problem:
        return problem
    finally:
        temporary.unlink(missing_ok=True)
    return None


def _require_opens(prepared: Prepared, place: Path) -> None:
    """Open the model as whoever has the config will, with the modules that it names imported first."""
    data = prepared.config.data
    objects = defined_in(imported(modules_of(prepared.config), prepared.config.folder))
    require_opens(place, prepared.model, safe_mode=not data.unsafe, custom_objects=objects)


def _write_weights(prepared: Prepared, folder: OutputFolder) -> None:
    """Write the weights alone, which any model of the same layers takes."""
    temporary = folder / f".run.{WEIGHTS}"
    try:
        prepared.model.save_weights(temporary)
        temporary.replace(folder / WEIGHTS)
    except OSError as error:
        raise _unwritten(folder / WEIGHTS, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _unwritten(path: Path, error: OSError) -> OutputFolderError:
    return OutputFolderError(
        f"cannot write {str(path)!r}: {error.strerror or error}",
        remedy="make room, then run the same command again: it continues at the end of the training",
    )


def _require_whole(folder: OutputFolder, run: Run) -> None:
    """Open what stands in the folder, as whoever checks it will."""
    if run.receipt is None:
        return
    receipt, delta = Receipt.load(folder / "receipt.json"), Delta.load(folder / "delta.safetensors")
    problems = receipt.check()
    if receipt.to_data() != run.receipt.to_data():
        problems.append("the receipt says something else than the run")
    problems += [
        f"the delta changes {a} to something else than the run" for a in _other_values(delta, receipt)
    ]
    if problems:
        raise RunError(
            f"what was written to {str(folder.path)!r} does not hold what the run came to",
            received=listed(problems),
            remedy="run the same command again: it continues at the end of the training",
        )


def _other_values(delta: Delta, receipt: Receipt) -> list[str]:
    """Return the addresses at which a delta and a receipt disagree on the base, or on what came out."""
    digests = {
        a: digest_array(entry.values[""]) for a, entry in delta.entries.items() if entry.kind == "whole"
    }
    other = [a for a, one in delta.base.items() if one.blake3 and one.blake3 != receipt.before[a].blake3]
    return other + [a for a, digest in digests.items() if digest != receipt.after[a].blake3]


def _conclude(log: RunLog, config: RunConfig, outcome: Outcome) -> None:
    log.say()
    log.say(f"finished in {_duration(outcome.seconds)}", style="bold green")
    log.say(outcome.run.verdict)
    for line in lines_of(outcome.run.findings, outcome.run.watched):
        log.say(line)
    folder = outcome.folder
    log.say(f"written to {folder}: model.keras, delta.safetensors, receipt.json, history.csv, log.txt")
    before = [] if names_function(config.data.model) else ["--before", str(config.model)]
    words = ["frostline", "verify", str(folder / "receipt.json"), *before]
    words += ["--after", str(folder / "model.keras")]
    if needed := _needed_modules(config, folder / "model.keras"):
        imports = [word for module in needed for word in ("--import", module)]
        log.say(f"model.keras opens with {shell_line(imports)}, or with the module imported in Python")
        words += imports
    words += ["--unsafe"] if config.data.unsafe else []
    log.say(f"check it: {shell_line(words)}")


def modules_of(config: RunConfig) -> list[str]:
    """Return the modules that a config names: those to import first, and that of the model's function."""
    own = [config.model.partition(":")[0]] if names_function(config.model) else []
    return list(dict.fromkeys([*config.data.imports, *own]))


def _needed_modules(config: RunConfig, model: Path) -> list[str]:
    """Return the modules of a config whose classes the saved model has."""
    written = classes_in(model)
    return [
        name
        for name in modules_of(config)
        for module in imported([name], config.folder)
        if written & set(defined_in([module]))
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@contextmanager
def _working(console: Console, what: str) -> Iterator[None]:
    if not console.is_terminal:
        yield
        return
    with console.status(plain(what)):
        yield


@contextmanager
def _failures_in(log: RunLog, config: RunConfig) -> Iterator[None]:
    """Keep every failure in the log; what no check foresaw becomes an error that names the log."""
    try:
        yield
    except KeyboardInterrupt:
        log.note("interrupted")
        raise
    except FrostlineError as error:
        log.note(f"failed: {error}")
        raise
    except BaseException as error:  # code that the run uses may call sys.exit, too
        log.note(traceback.format_exc())
        if not isinstance(error, Exception):
            raise failure("the training was ended by the code that the run uses", error) from error
        first = next((line for line in text_of(error).splitlines() if line.strip()), "")
        raise RunError(
            "the training failed inside Keras or the code that the run uses",
            received=f"{type(error).__name__}: {first[:300]}",
            remedy=f"the full error is in {config.output / 'log.txt'}",
        ) from error


@contextmanager
def _warnings_in(log: RunLog) -> Iterator[None]:
    """Say warnings as lines of the log, each once, without the place in the code that they came from."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = str(message)
        if text not in said:
            said.add(text)
            log.say(f"warning: {text}", style="yellow")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
