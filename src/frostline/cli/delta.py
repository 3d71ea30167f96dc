"""`frostline delta`: only what training changed, taken from models, put on them, and looked at."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from frostline.cli import options
from frostline.cli.records import takes_records
from frostline.render.documents import yaml_document

NAME = "delta"
EXAMPLE = (
    "Example: frostline delta save base.keras tuned.keras -o tuned.safetensors; "
    "frostline delta apply base.keras tuned.safetensors -o again.keras"
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Keep only what training changed, in one small file.",
    epilog=EXAMPLE,
)

Base = Annotated[
    str,
    typer.Argument(
        metavar="BASE",
        show_default=False,
        help="The model that training began with: a .keras file, or module:function.",
    ),
]
DeltaFile = Annotated[
    Path, typer.Argument(metavar="DELTA", show_default=False, help="What `delta save` wrote.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="The file to write.", show_default=False)]


@app.command("save", epilog="Example: frostline delta save base.keras tuned.keras -o tuned.safetensors")
@takes_records
def save(
    base: Base,
    tuned: Annotated[
        str, typer.Argument(metavar="TUNED", show_default=False, help="The model that came out of it.")
    ],
    out: Out,
    force: options.Force = False,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Write what differs between a model and its base.

    Where a table differs in some rows only, these rows are written. A model that fl.save_model wrote keeps
    its parametrizations: of LoRA the factors are written.
    """
    options.refuse_overwriting(out, force=force)
    first = loading.load(base, quiet=json)
    last = _with_decisions(tuned, loading, quiet=json)
    from frostline.delta.save import delta_of  # imports Keras, on the backend that was chosen

    with options.working("comparing every weight", quiet=json):
        delta = delta_of(last, first)
        delta.save(out)
    _report([delta], out, json)


@app.command(
    "apply",
    epilog="Example: frostline delta apply base.keras one.safetensors two.safetensors -o tuned.keras",
)
@takes_records
def apply(
    base: Base,
    deltas: Annotated[
        list[Path],
        typer.Argument(
            metavar="DELTA",
            show_default=False,
            help="What `delta save` wrote: one file, or several in the order in which to put them on.",
        ),
    ],
    out: Out,
    on_another: Annotated[
        bool, typer.Option("--another-base", help="Apply it although BASE is not the base it was made for.")
    ] = False,
    force: options.Force = False,
    json: options.Json = False,
    *,
    loading: options.Loading,
) -> None:
    """Put deltas on their base and write the model that results, as a plain .keras file.

    Several deltas must change different elements, or one must have been trained on top of the other. The file
    is written when all of them fit.
    """
    from frostline.delta.contents import Delta

    options.refuse_overwriting(out, force=force)
    loaded = [Delta.load(path) for path in deltas]
    model = loading.load(base, quiet=json)
    # These import Keras, on the backend that was chosen.
    from frostline.delta.load import load_delta
    from frostline.saving.model_file import save_plainly
    from frostline.saving.reopened import require_opens

    with options.working(f"putting {' and '.join(map(str, deltas))} on {base}", quiet=json):
        for path in deltas:
            load_delta(model, path, name=str(path), force=on_another)
        opens = partial(
            require_opens,
            model=model,
            safe_mode=not loading.unsafe,
            custom_objects=loading.own_classes(),
            compiled=False,
            place=out,
        )
        save_plainly(model, out, check=opens)
    _report(loaded, out, json)


@app.command("show", epilog="Example: frostline delta show tuned.safetensors")
@takes_records
def show(delta: DeltaFile, json: options.Json = False) -> None:
    """Show what a delta changes, its base, and the plan it was trained under. Checks the file."""
    from frostline.delta.contents import Delta

    loaded = Delta.load(delta)
    if json:
        sealed = {"base_digest": loaded.base_digest, "sealed_whole": loaded.sealed_whole}
        options.show_json({"frostline_delta": 1, **sealed, **loaded.to_data()})
        return
    options.show(loaded)
    if loaded.plan is not None:
        options.show(_plan_text(loaded.plan))


@app.command("diff", epilog="Example: frostline delta diff first.safetensors second.safetensors")
@takes_records
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", show_default=False, help="A delta.")],
    b: Annotated[Path, typer.Argument(metavar="B", show_default=False, help="Another one.")],
    json: options.Json = False,
) -> None:
    """Compare two deltas, weight by weight. Exit code 1 where they differ."""
    from frostline.delta.contents import Delta
    from frostline.delta.diff import difference

    found = difference(Delta.load(a), Delta.load(b))
    if json:
        options.show_json({"frostline_delta": 1, **found.to_data()})
    else:
        options.show(found)
    raise typer.Exit(0 if found.same else 1)


def _with_decisions(name: str, loading: options.Loading, *, quiet: bool) -> Any:
    """Load a model with its parametrizations, where its file has them."""
    from frostline.backend_choice import choose_backend
    from frostline.model.loading import require_archive
    from frostline.model.user_code import defined_in, imported, names_function

    path = Path(name)
    if not names_function(name):
        require_archive(path)
        choose_backend(loading.backend)
        from frostline.saving.model_file import has_decisions, load_model

        if has_decisions(path):
            modules = imported(loading.imports or ())
            with options.working(f"loading {name}", quiet=quiet):
                objects = defined_in(modules)
                return load_model(path, custom_objects=objects, safe_mode=not loading.unsafe, compile=False)
    return loading.load(name, quiet=quiet)


def _report(deltas: Collection[Any], out: Path, json: bool) -> None:
    size = out.stat().st_size
    if json:
        weights = {address for delta in deltas for address in delta.entries}
        totals = {"weights": len(weights), "numbers": sum(delta.size for delta in deltas)}
        options.show_json({"frostline_delta": 1, "out": str(out), "bytes": size, **totals})
        return
    from frostline.render.tables import bytes_text

    for delta in deltas:
        options.show(delta)
    options.say(f"written: {out} ({bytes_text(size)})")


def _plan_text(plan: Any) -> str:
    if isinstance(plan, str):
        return f"{_PLAN}, as text:\n{plan}"
    return f"{_PLAN}:\n" + yaml_document(plan).rstrip()


_PLAN = "the plan, as the delta says (it is not held against what the delta changes)"
