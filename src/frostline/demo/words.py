"""The main job: a pre-trained encoder learns how people rate words, first by a new head alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import frostline as fl
from frostline.demo import lexicon, minilm
from frostline.demo.encoder import build_encoder, build_regressor
from frostline.demo.progress import Stage

LENGTH = 8
"""Word pieces per word; two of the 7,188 words are longer and lose their end."""

BATCH = 64
HEAD_EPOCHS = 2
BLOCK_EPOCHS = 2
RATE = 2e-3
SPLIT = "held out"
"""Names the split. The settings above were chosen on another one, so these test words are new to them."""

HEAD = fl.linear_probe()
SCHEDULE = fl.Schedule(
    HEAD,
    (
        fl.Phase("head", epochs=2 * HEAD_EPOCHS),
        fl.Phase("blocks", epochs=BLOCK_EPOCHS).train("encoder/block_{4,5}/**", lr=0.1),
    ),
)


@dataclass(frozen=True, slots=True)
class _Words:
    """Tokens and ratings, to train on and to test on."""

    train: dict[str, Any]
    train_ratings: Any
    test: dict[str, Any]
    test_ratings: Any


def run(stage: Stage, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Run the demo.

    Args:
        stage: Where it prints.
        folder: Where it writes the model and the receipts.
        seed: Of the heads' initial weights and the order of the data.

    Returns:
        The figures, as plain data.

    Raises:
        MissingDataError: The packages with the model and the data are not installed.
    """
    began = time.monotonic()
    lexicon_words = lexicon.load_lexicon()
    words = _load(lexicon_words)
    stage.step(
        "How pleasant is a word?",
        f"{len(lexicon_words.words):,} English words, each rated by ten people from -4 to 4 "
        "(vaderSentiment). A head on the encoder all-MiniLM-L6-v2 learns from "
        f"{len(words.train_ratings):,} of them and is tested on {len(words.test_ratings):,} that share no "
        "first five letters with those. "
        f"Keras {keras.__version__}, {keras.backend.backend()} backend.",
    )
    errors = {
        "the mean rating, for every word": _error(words.train_ratings.mean(), words),
        "head on a random encoder, frozen": _random_encoder(stage, words, seed),
    }
    model = _compiled(minilm.load_encoder(), seed)
    _decide(stage, model)
    done = _train(stage, model, SCHEDULE, words, "the head, then the last two blocks as well")
    # The loss is the mean absolute error, so the loss on the test words is what is asked for.
    tested = done.history.history["val_loss"]
    errors["head on the pre-trained encoder, frozen"] = tested[HEAD_EPOCHS - 1]
    errors["the same head, trained twice as long"] = tested[2 * HEAD_EPOCHS - 1]
    errors["then the last two blocks as well"] = tested[-1]
    raters = lexicon.rater_disagreement(lexicon_words)
    _report(stage, errors, raters)
    _prove(stage, folder, model, done)
    seconds = time.monotonic() - began
    stage.say(f"\n{seconds:.0f} s in all.")
    return {
        "frostline": 1,
        "mean_absolute_error": errors | {"five raters against the other five": raters},
        "verified": [phase.verification.ok for phase in done.phases if phase.verification],
        "seconds": round(seconds, 1),
    }


def _load(words: lexicon.Lexicon) -> _Words:
    split = lexicon.split_by_prefix(words, salt=SPLIT)
    return _Words(
        minilm.tokenize(split.train.words, length=LENGTH),
        split.train.means.astype("float32"),
        minilm.tokenize(split.test.words, length=LENGTH),
        split.test.means.astype("float32"),
    )


def _compiled(encoder: Any, seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    model = build_regressor(encoder)
    model.compile(keras.optimizers.Adam(RATE), "mae")
    return model


def _random_encoder(stage: Stage, words: _Words, seed: int) -> float:
    keras.utils.set_random_seed(seed)
    model = _compiled(build_encoder(minilm.read_config()), seed)
    _train(stage, model, HEAD, words, "for comparison: a random encoder", epochs=2 * HEAD_EPOCHS)
    return _predicted(model, words)


def _decide(stage: Stage, model: Any) -> None:
    stage.step(
        "1. Decide what trains", f"First a new head alone, then two blocks of the encoder too:\n{SCHEDULE}\n"
    )
    for phase in SCHEDULE.phases:
        stage.say(f"Phase {phase.name!r}:")
        stage.draw(SCHEDULE.plan_of(phase).resolve(model))


def _train(
    stage: Stage, model: Any, plan: fl.Plan | fl.Schedule, words: _Words, what: str, **arguments: Any
) -> fl.Run:
    with stage.training(what) as progress:
        return fl.fit(
            model,
            plan,
            words.train,
            words.train_ratings,
            validation_data=(words.test, words.test_ratings),
            batch_size=BATCH,
            verbose=0,
            callbacks=[progress],
            **arguments,
        )


def _predicted(model: Any, words: _Words) -> float:
    predicted = model.predict(words.test, batch_size=256, verbose=0)
    return _error(predicted[:, 0], words)


def _error(predicted: Any, words: _Words) -> float:
    return float(np.abs(predicted - words.test_ratings).mean())


def _report(stage: Stage, errors: dict[str, float], raters: float) -> None:
    stage.step("2. What it learned", "Mean absolute error on the test words, in rating points:")
    rows = [(what, f"{error:.2f}") for what, error in errors.items()]
    rows.append(("five raters against the other five", f"{raters:.2f}"))
    stage.results(("", "error"), rows)
    mean, random, probe, longer, blocks = errors.values()
    gain = longer - blocks
    verdict = (
        "lower the error further"
        if gain > 0.03
        else "change it by no more than the figures vary from seed to seed, about 0.03"
    )
    stage.say(
        f"\nPre-training makes the difference: {probe:.2f} against {random:.2f}, where the mean alone gives "
        f"{mean:.2f}. The last two blocks {verdict} ({longer:.2f} to {blocks:.2f}). One run, one split."
    )


def _prove(stage: Stage, folder: Path, model: Any, done: fl.Run) -> None:
    stage.step("3. Prove what moved")
    folder.mkdir(parents=True, exist_ok=True)
    if done.receipt is not None:
        done.receipt.save(folder / "receipt-words.json")
    model.save(folder / "words.keras")
    frozen = sum(decision.weight.size for decision in done.resolution.frozen)
    stage.draw(done.receipt)
    stage.say(
        f"{frozen:,} frozen numbers, each with the bits it had before. The optimizer kept the head's moments "
        "when the blocks joined, and counts the blocks' steps from their own first one."
    )
    stage.say(
        f"\nWritten to {folder}: the model and the receipt. Check them yourself:\n"
        f"  frostline verify {folder / 'receipt-words.json'} --after {folder / 'words.keras'}"
    )
