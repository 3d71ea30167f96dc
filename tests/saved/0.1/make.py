"""Wrote the files beside it with Frostline 0.1, commit 2d35376ba77dc9964b6ddea8d6fb5ba271280278.

Kept for reference, and not run by the tests: files of 0.1 must stay readable, so they are never written anew.
It was run on a clone of that commit, once for each backend, in this order:

    git clone . /tmp/v01 && git -C /tmp/v01 checkout 2d35376
    for backend in jax torch tensorflow; do
        KERAS_BACKEND=$backend PYTHONPATH=/tmp/v01/src python tests/saved/0.1/make.py
    done

Beside it, for all backends:

    data.npz, base.keras    the data and the model that all training of `saved_program.py` begins with
    flagged.keras           what `save_model` wrote of a model without a plan; flagged.npz and
                            flagged.json: what was in it
    plans/                  plan files by hand and by `save`; decisions.json: what they decided for that model
    fit/                    run configs with their models and data

In jax/, torch/ and tensorflow/:

    model.keras             what `save_model` wrote; before.npz and before.json: what was in it; after.npz:
                            what it came to by one epoch more
    tuned.safetensors       the delta of the same training
    words.safetensors       a delta of rows; words.npz: what the model with it came to
    further.safetensors     a delta that rests on that one; further.npz: what the model with both came to
    receipt.json            the receipt of the same training: base.keras before, model.keras after
    adapter/                its LowRank part as `export_peft` wrote it
    interrupted/            a run that was interrupted; end.npz and end.json: what it comes to undisturbed
    finished/               a run that is finished
    fit/                    the folder of an interrupted `frostline fit run.yaml`
    fit.npz                 what each run config comes to undisturbed
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import saved_program as program
from blake3 import blake3
from keras import layers

import frostline as fl

HERE = Path(__file__).parent
BACKEND = keras.backend.backend()
OUT = HERE / BACKEND
CONFIGS = ("run", "arrays", "images", "function")


class KeepAt(keras.callbacks.Callback):
    """Copies a checkpoint folder at the beginning of one epoch: what a kill at that moment leaves."""

    def __init__(self, epoch: int, folder: Path, copy: Path) -> None:
        super().__init__()
        self._epoch, self._folder, self._copy = epoch, folder, copy

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            shutil.copytree(self._folder, self._copy)


# --- for all backends ----------------------------------------------------------------------------


def write_shared() -> None:
    rng = np.random.default_rng(program.SEED)
    batches = program.SAMPLES // program.BATCH
    shape = (program.BATCH, program.LENGTH)
    words = [rng.permutation(program.WORDS)[: shape[0] * shape[1]].reshape(shape) for _ in range(batches)]
    y = rng.normal(size=(program.SAMPLES, program.OUTPUTS)).astype("float32")
    np.savez(HERE / "data.npz", x=np.concatenate(words).astype("int32"), y=y)
    program.network().save(HERE / "base.keras")
    write_flagged()
    write_plans(HERE / "plans", rng)
    write_fit(HERE / "fit", rng)


def write_flagged() -> None:
    model = program.flagged()
    fl.save_model(model, HERE / "flagged.keras")
    np.savez_compressed(HERE / "flagged.npz", **program.weights_of(model), **program.slots_of(model))
    write_json(HERE / "flagged.json", program.decisions_on(model))


def write_plans(folder: Path, rng: np.random.Generator) -> None:
    mask = rng.random((6, 6)) > 0.5
    np.save(folder / "mask.npy", mask)
    by_hand = folder / "by_hand.yaml"
    digest = f"blake3:{blake3((folder / 'mask.npy').read_bytes()).hexdigest()}"
    by_hand.write_text(by_hand.read_text().replace("DIGEST", digest))
    for ending in ("yaml", "json"):
        fl.Plan.load(by_hand).save(folder / f"saved.{ending}")
        program.SCHEDULE.save(folder / f"saved_phases.{ending}")
    model = program.base()
    files = sorted(path for path in folder.glob("*.[yj]*") if path.name != "decisions.json")
    decided = {path.name: program.decisions_in(path, model) for path in files}
    write_json(folder / "decisions.json", decided)


def write_fit(folder: Path, rng: np.random.Generator) -> None:
    table = [
        keras.Input((4,)),
        layers.Dense(5, activation="relu", name="a"),
        layers.Dropout(0.2, seed=2, name="drop"),
        layers.Dense(3, activation="softmax", name="head"),
    ]
    keras.Sequential(table, name="table").save(folder / "table.keras")
    images = [
        keras.Input((6, 5, 3)),
        layers.Conv2D(2, 3, name="conv"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(2, name="head"),
    ]
    keras.Sequential(images, name="images").save(folder / "images.keras")
    x = rng.normal(size=(24, 4)).astype("float32")
    y = np.argmax(x[:, :3], axis=1)
    importance = np.linspace(0.5, 1.5, 24, dtype="float32")
    np.savez(folder / "arrays.npz", numbers=x, labels=y, importance=importance)
    np.savez(folder / "more.npz", numbers=x[:8], labels=y[:8], importance=importance[:8])
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["p", "q", "r", "s", "kind"])
        writer.writerows(
            [*row, ("ant", "bee", "cat")[label]] for row, label in zip(x.tolist(), y, strict=True)
        )
    draw_images(folder / "images", rng)


def draw_images(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(4):
            pixels = rng.integers(0, 100, (6, 5, 3)) + 140 * number
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{image}.png")


# --- for each backend ----------------------------------------------------------------------------


def write_model() -> None:
    model, run = program.tuned()
    fl.save_model(model, OUT / "model.keras")
    fl.save_delta(model, OUT / "tuned.safetensors", base=run)
    assert run.receipt is not None
    run.receipt.save(OUT / "receipt.json")
    fl.export_peft(model, OUT / "adapter", names=program.ADAPTER)
    outputs = {"outputs": program.outputs_of(model)}
    np.savez_compressed(OUT / "before.npz", **program.weights_of(model), **program.slots_of(model), **outputs)
    write_json(OUT / "before.json", program.decisions_on(model))
    model.fit(*program.data(), batch_size=program.BATCH, shuffle=False, verbose=0)
    np.savez_compressed(OUT / "after.npz", outputs=program.outputs_of(model))


def write_deltas() -> None:
    model = program.base()
    for name, plan in (("words", program.NEW_WORDS), ("further", program.FURTHER)):
        run = program.train(model, plan)
        fl.save_delta(model, OUT / f"{name}.safetensors", base=run)
        np.savez_compressed(OUT / f"{name}.npz", outputs=program.outputs_of(model))


def write_checkpoints() -> None:
    with tempfile.TemporaryDirectory() as folder:
        keep = KeepAt(program.INTERRUPTED_AT, Path(folder), OUT / "interrupted")
        model, run = program.fit_schedule(Path(folder), keep)
    program.fit_head(OUT / "finished")
    for name in ("interrupted", "finished"):
        keep_the_last(OUT / name)
    np.savez_compressed(OUT / "end.npz", **program.weights_of(model), outputs=program.outputs_of(model))
    assert run.verification is not None
    history = {
        name: [v if isinstance(v, str) else float(v) for v in held]
        for name, held in run.history.history.items()
    }
    told = {
        "history": history,
        "epochs": run.history.epoch,
        "verification": run.verification.to_data(),
        "decisions": program.decisions_on(model),
    }
    write_json(OUT / "end.json", told)


def keep_the_last(folder: Path) -> None:
    """Remove the checkpoint that is there in case the last one cannot be read: it is as large again."""
    for old in sorted(folder.glob("[ef]*"))[:-1]:
        shutil.rmtree(old)
    (folder / ".lock").unlink(missing_ok=True)


def write_fit_runs() -> None:
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(shutil.copytree(HERE / "fit", Path(folder, "fit")))
        (here / "stop_at").write_text("2")
        assert frostline_fit(here, "run") == 130
        (here / "stop_at").unlink()
        shutil.copytree(here / "out", OUT / "fit")
        keep_the_last(OUT / "fit" / "checkpoints")
        for name in CONFIGS:
            assert frostline_fit(here, name, "--overwrite") == 0
            model = keras.models.load_model(here / "out" / "model.keras", compile=False)
            found |= {f"{name}/{path}": value for path, value in program.weights_of(model).items()}
    np.savez_compressed(OUT / "fit.npz", **found)


def frostline_fit(folder: Path, name: str, *more: str) -> int:
    words = [sys.executable, "-c", "from frostline.cli.app import main; main()", "fit", f"{name}.yaml", *more]
    return subprocess.run(words, cwd=folder, check=False).returncode


def write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    if BACKEND == "jax":
        write_shared()
    OUT.mkdir()
    write_model()
    write_deltas()
    write_checkpoints()
    write_fit_runs()
