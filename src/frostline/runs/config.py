"""Run configs: read, checked as far as that goes without Keras, and errors with their line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frostline.data.csv_table import check_csv
from frostline.data.image_folder import check_images
from frostline.data.npz import check_npz
from frostline.data.sources import KINDS, CsvData, FunctionData, ImagesData, NpzData, Source
from frostline.errors import FrostlineError, RunConfigError
from frostline.files.document import Document, Format
from frostline.files.reading import kind_of
from frostline.files.similar import similar_files
from frostline.files.yaml_reader import read_document
from frostline.model.loading import require_archive
from frostline.model.user_code import names_function
from frostline.plan.file import PLAN
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule, load_plan_or_schedule, read_plan_or_schedule
from frostline.runs.schema import RunData, model_at

_SOURCE_EXAMPLE = f"a mapping with exactly one of {', '.join(KINDS)}, such as {{npz: data.npz}}"
_MONITOR_EXAMPLE = "a mapping such as {monitor: val_loss, patience: 3}"

RUN = Format(
    noun="run",
    in_file=RunConfigError,
    in_data=RunConfigError,
    model_at=model_at,
    # Names of arrays and columns may look like numbers; everything else that does is one.
    number_at=lambda at: at[:1] not in (("model",), ("output",), ("data",)) or "arguments" in at,
    examples={
        "model": "a .keras file, or module:function",
        "data": _SOURCE_EXAMPLE,
        "validation": f"a fraction such as 0.2, or {_SOURCE_EXAMPLE}",
        "compile": "a mapping such as {optimizer: adam, loss: mse}",
        "output": "the path of a folder",
        "stop_early": _MONITOR_EXAMPLE,
        "reduce_lr": _MONITOR_EXAMPLE,
        "monitor": "a name such as val_loss",
        "callbacks": "module:function",
        "import": "the name of a module",
    },
    default_example="text",
    first_line="frostline: 1",
    write_one="write one with `frostline init --run MODEL DATA`",
    quote="put text with special signs in quotes",
    several="keep one of them",
)
"""What the messages about run configs say."""


@dataclass(frozen=True)
class RunConfig:
    """A run config that was read and checked.

    Attributes:
        path: The file.
        data: What stands in it.
        plan: The plan or schedule that it names or holds.
        document: Knows the line of everything in it.
    """

    path: Path
    data: RunData
    plan: Plan | Schedule
    document: Document

    @property
    def folder(self) -> Path:
        """The folder of the config: every path in it begins here."""
        return self.path.parent.absolute()

    @property
    def output(self) -> Path:
        """The folder to write to."""
        return self.file(self.data.output)

    @property
    def validation(self) -> Source | None:
        """The second source of data, if there is one, with what it leaves out taken from the first."""
        given, first = self.data.validation, self.data.data
        if given is None or isinstance(given, float):
            return None
        if type(given) is not type(first):
            return given
        paths = {*KINDS, "arguments"}
        inherited = {name: getattr(first, name) for name in first.model_fields_set - paths}
        own = {name: getattr(given, name) for name in given.model_fields_set}
        return given.model_copy(update=inherited | own)

    def file(self, name: str) -> Path:
        """Return the path of a file that the config names."""
        path = (self.folder / Path(name).expanduser()).absolute()
        # As the user would write it, where that is shorter.
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

    @property
    def model(self) -> str:
        """The model, as `load_named_model` takes it."""
        name = self.data.model
        return name if names_function(name) else str(self.file(name))


def load_run(path: str | Path) -> RunConfig:
    """Read a run config, with its plan file; checks that all files are there and have what it names.

    Neither Keras nor a backend is imported.

    Raises:
        RunConfigError: Something is wrong in it; says the file, the line, and what was expected.
        PlanFileError: Something is wrong in the plan file that it names.
    """
    path = Path(path)
    document = read_document(path, RUN)
    if isinstance(document.data, dict) and "rules" in document.data and "model" not in document.data:
        raise document.error(
            (),
            "this is a plan, not a run",
            expected="a run: a model, data, a plan, and where the results go",
            remedy=f"write one with `frostline init --run MODEL DATA`, and in it: plan: {path.name}",
        )
    config = RunConfig(path, document.validated(RunData), Plan(), document)
    config = RunConfig(path, config.data, _plan(config), document)
    _check_ends(config)
    _check_monitors(config)
    if not names_function(config.data.model):
        document.made(lambda: require_archive(Path(config.model)), ("model",))
    _check_source(config, config.data.data, "data")
    if (validation := config.validation) is not None:
        _check_source(config, validation, "validation")
    return config


def _plan(config: RunConfig) -> Plan | Schedule:
    given, document = config.data.plan, config.document
    if isinstance(given, dict):
        inner = {"frostline": 1, **given}
        format_ = PLAN.raising(RunConfigError)
        return read_plan_or_schedule(Document(document.source, inner, format_, document.lines, ("plan",)))
    file = config.file(given)
    if kind_of(file) is None:
        raise _missing(config, ("plan",), "plan file", file, ".yaml", ".yml", ".json")
    return load_plan_or_schedule(file)


def _check_ends(config: RunConfig) -> None:
    phases = isinstance(config.plan, Schedule)
    if phases and config.data.epochs is not None:
        raise config.document.error(
            ("epochs",),
            "epochs cannot be combined with a plan with phases, which say how long they last",
            received=f"epochs: {config.data.epochs}",
            remedy="leave it out, or give the phases other epochs",
        )
    if not phases and config.data.epochs is None:
        raise config.document.error(
            (), "the key 'epochs' is missing", remedy="add epochs: 10, or phases to the plan"
        )
    if phases and config.data.stop_early is not None and config.data.stop_early.restore_best:
        raise config.document.error(
            ("stop_early", "restore_best"),
            "with phases the best weights are restored by phase, since a phase may freeze what an earlier "
            "one trained",
            remedy="put restore_best: true on the phases, beside their until:",
        )


def _check_monitors(config: RunConfig) -> None:
    """Refuse to monitor a value of the validation where there is none."""
    if config.data.validation is not None:
        return
    for at, name in monitored(config):
        if name.startswith("val_"):
            raise config.document.error(
                at,
                f"{name!r} is monitored, but the run has no validation",
                remedy="add validation: 0.2, or a second source of data",
            )


def monitored(config: RunConfig) -> list[tuple[tuple[int | str, ...], str]]:
    """Return the values that a run monitors, with the place in the config that asks for it."""
    found: list[tuple[tuple[int | str, ...], str]] = []
    for key in ("stop_early", "reduce_lr"):
        if (given := getattr(config.data, key)) is not None:
            found.append(((key, "monitor"), given.monitor))
    if isinstance(config.plan, Schedule):
        inline = isinstance(config.data.plan, dict)
        for number, phase in enumerate(config.plan.phases):
            if phase.until is not None:
                at = ("plan", "phases", number, "until", "monitor") if inline else ("plan",)
                found.append((at, phase.until.monitor))
    return found


def _check_source(config: RunConfig, source: Source, key: str) -> None:
    if isinstance(source, FunctionData):
        return
    kind = next(kind for kind in KINDS if hasattr(source, kind))
    path = config.file(getattr(source, kind))
    at = (key, kind)
    if kind_of(path) is None:
        noun = {"images": "folder"}.get(kind, f".{kind} file")
        raise _missing(config, at, noun, path, *([] if kind == "images" else [f".{kind}"]))
    if kind != "images" and kind_of(path) == "folder":
        raise config.document.error(at, f"{str(path)!r} is a folder", expected=f"a .{kind} file")
    if isinstance(source, CsvData) and source.target is None:
        raise config.document.error(
            (key,),
            f"the key 'target' of {key} is missing",
            remedy="name the column to predict: target: price",
        )
    config.document.made(lambda: _check_file(path, source), at)


def _check_file(path: Path, source: Source) -> None:
    if isinstance(source, NpzData):
        check_npz(path, source)
    elif isinstance(source, CsvData):
        check_csv(path, source)
    elif isinstance(source, ImagesData):
        check_images(path, source)


def _missing(config: RunConfig, at: Any, noun: str, path: Path, *endings: str) -> FrostlineError:
    return config.document.error(
        at,
        f"there is no {noun} {str(path)!r}",
        remedy=similar_files(path, *endings),
        expected="a path that begins at the folder of the config",
    )
