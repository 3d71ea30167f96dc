"""New tokens: emoticons become rows of the encoder's vocabulary, and these rows train beside a new head."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

import frostline as fl
from frostline.demo import lexicon, minilm
from frostline.demo.encoder import build_regressor
from frostline.demo.progress import Stage

TABLE = "encoder/embeddings/word/embeddings"
EPOCHS = 40
LONGER = 4
"""How many times as long the head alone is trained as well, for a comparison that is fair to it."""

BATCH = 32
RATE = 2e-3
HELD_OUT = 0.2
"""The share of emoticons that a second head never sees."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Emoticons:
    """Emoticons, as pieces of the old vocabulary and as tokens of their own, and what ten people said."""

    names: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    as_pieces: dict[str, Any]
    first: Array
    """Mean of raters 1 to 5: what is trained on."""
    second: Array
    """Mean of raters 6 to 10: what is scored against."""

    @property
    def alike(self) -> Array:
        """Which share all their pieces with another one."""
        return np.array([self.pieces.count(one) > 1 for one in self.pieces])

    def as_tokens(self, vocabulary: int) -> dict[str, Any]:
        """Return the encoder's input with one new token for each emoticon."""
        count = len(self.names)
        new = np.arange(vocabulary, vocabulary + count, dtype="int32")
        begin, end = self.as_pieces["token_ids"][0, 0], minilm.load_tokenizer().token_to_id("[SEP]")
        ids = np.stack([np.full_like(new, begin), new, np.full_like(new, end)], axis=1)
        return {"token_ids": ids, "attention_mask": np.ones_like(ids)}


def run(stage: Stage, folder: Path, *, seed: int = 0) -> dict[str, Any]:
    """Run the demo.

    Args:
        stage: Where it prints.
        folder: Where it writes the model, the delta and the receipt.
        seed: Of the head's initial weights and the order of the data.

    Returns:
        The figures, as plain data.

    Raises:
        MissingDataError: The packages with the model and the data are not installed.
    """
    began = time.monotonic()
    emoticons = _load()
    _introduce(stage, emoticons)
    model = _regressor(seed)
    vocabulary = int(fl.inventory(model).by_address[TABLE].shape[0])
    tokens = emoticons.as_tokens(vocabulary)
    errors = {"raters 1-5, averaged over all emoticons": _error(emoticons.first.mean(), emoticons)}
    by_pieces, by_pieces_longer = _by_pieces(stage, model, emoticons, seed)
    larger, done = _by_rows(stage, model, emoticons, tokens)
    by_rows = _predicted(larger, tokens)
    predicted = {BY_PIECES: by_pieces, BY_PIECES_LONGER: by_pieces_longer, BY_ROWS: by_rows}
    errors |= {what: _error(ratings, emoticons) for what, ratings in predicted.items()}
    errors[RATERS] = _error(emoticons.first, emoticons)
    alike = {what: _error(ratings, emoticons, emoticons.alike) for what, ratings in predicted.items()}
    held_out = _held_out(model, emoticons, seed)
    _report(stage, errors, alike, held_out, emoticons)
    proof = _prove(stage, folder, larger, done, tokens, vocabulary)
    seconds = time.monotonic() - began
    stage.say(f"\n{seconds:.0f} s in all.")
    return {
        "frostline": 1,
        "mean_absolute_error": errors,
        "error_where_pieces_are_shared": alike,
        "held_out_error": held_out,
        "verified": [done.verification.ok] if done.verification else [],
        **proof,
        "seconds": round(seconds, 1),
    }


BY_PIECES = "word pieces as they are, head alone"
BY_PIECES_LONGER = f"the same, trained {LONGER} times as long"
BY_ROWS = "a row for each emoticon, and the head"
RATERS = "raters 1-5, for each emoticon"


def _introduce(stage: Stage, emoticons: _Emoticons) -> None:
    stage.step(
        "A word of its own for each emoticon",
        f"{len(emoticons.names)} emoticons such as {' '.join(emoticons.names[100:104])}, each rated by ten "
        "people from -4 to 4 (vaderSentiment). The encoder all-MiniLM-L6-v2 knows them as strings of signs. "
        "They become new rows of its vocabulary and learn from raters 1 to 5; raters 6 to 10 are the test. "
        f"Keras {keras.__version__}, {keras.backend.backend()} backend.",
    )


def _load() -> _Emoticons:
    found = lexicon.load_emoticons()
    tokenizer = minilm.load_tokenizer()
    pieces = tuple(tuple(one.ids[1:-1]) for one in tokenizer.encode_batch(list(found.words)))
    return _Emoticons(
        names=found.words,
        pieces=pieces,
        as_pieces=minilm.tokenize(found.words),
        first=found.ratings[:, :5].mean(axis=1).astype("float32"),
        second=found.ratings[:, 5:].mean(axis=1).astype("float32"),
    )


def _regressor(seed: int) -> Any:
    keras.utils.set_random_seed(seed)
    return build_regressor(minilm.load_encoder())


def _error(predicted: Any, emoticons: _Emoticons, of: Any = slice(None)) -> float:
    return float(np.abs(predicted - emoticons.second)[of].mean())


def _predicted(model: Any, inputs: Any) -> Array:
    predicted: Array = model.predict(inputs, batch_size=256, verbose=0)[:, 0]
    return predicted


def _embedded(model: Any, emoticons: _Emoticons) -> Array:
    """Return what the frozen encoder gives for the pieces: the same in each epoch, so computed once."""
    embedded: Array = model.get_layer("encoder").predict(emoticons.as_pieces, batch_size=256, verbose=0)
    return embedded


def _trained_head(
    model: Any, embedded: Array, ratings: Array, seed: int, epochs: int, callbacks: Any = ()
) -> Any:
    """Return a copy of the model's new head, trained on what a frozen encoder gave."""
    head = keras.models.clone_model(model.get_layer("head"))
    head.set_weights(model.get_layer("head").get_weights())
    keras.utils.set_random_seed(seed)
    head.compile(keras.optimizers.Adam(RATE), "mae")
    head.fit(embedded, ratings, epochs=epochs, batch_size=BATCH, verbose=0, callbacks=list(callbacks))
    return head


def _by_pieces(stage: Stage, model: Any, emoticons: _Emoticons, seed: int) -> list[Array]:
    """Return what the head alone predicts, after as many epochs as the rows get, and after more."""
    embedded = _embedded(model, emoticons)
    predicted = []
    for epochs in (EPOCHS, LONGER * EPOCHS):
        with stage.training("for comparison: the head alone, on word pieces") as progress:
            head = _trained_head(model, embedded, emoticons.first, seed, epochs=epochs, callbacks=[progress])
        predicted.append(_predicted(head, embedded))
    return predicted


def _by_rows(stage: Stage, model: Any, emoticons: _Emoticons, tokens: dict[str, Any]) -> tuple[Any, fl.Run]:
    count = len(emoticons.names)
    larger, rows = fl.grow_embedding(model, TABLE, count, emoticons.pieces)
    plan = rows.train("head/**")
    stage.step(
        "1. Decide what trains",
        f"fl.grow_embedding added {count} rows, each the mean of its pieces, and gave back the plan that "
        f"trains them. The head joins:\n{plan}\n",
    )
    stage.draw(plan.resolve(larger))
    larger.compile(keras.optimizers.Adam(RATE), "mae")
    with stage.training("the new rows and the head") as progress:
        done = fl.fit(
            larger,
            plan,
            tokens,
            emoticons.first,
            epochs=EPOCHS,
            batch_size=BATCH,
            verbose=0,
            callbacks=[progress],
        )
    return larger, done


def _held_out(model: Any, emoticons: _Emoticons, seed: int) -> dict[str, float]:
    """Return the errors on emoticons that a head on word pieces never saw."""
    embedded = _embedded(model, emoticons)
    away = np.random.default_rng(seed).random(len(emoticons.names)) < HELD_OUT
    head = _trained_head(model, embedded[~away], emoticons.first[~away], seed, EPOCHS)
    second = emoticons.second[away]
    return {
        "mean of the others": float(np.abs(emoticons.first[~away].mean() - second).mean()),
        "word pieces": float(np.abs(_predicted(head, embedded[away]) - second).mean()),
    }


def _report(
    stage: Stage,
    errors: dict[str, float],
    alike: dict[str, float],
    held_out: dict[str, float],
    emoticons: _Emoticons,
) -> None:
    stage.step("2. What it learned", "Mean absolute error against raters 6 to 10, in rating points:")
    stage.results(("", "error"), [(what, f"{error:.2f}") for what, error in errors.items()])
    gain = alike[BY_PIECES_LONGER] - alike[BY_ROWS]
    apart = "which helps" if gain > 0.03 else "but people rate those much alike, and it gains nothing"
    stage.say(
        f"\nThis is lookup, not generalisation. All {len(emoticons.names)} emoticons were trained on, and a "
        f"row of its own can store what five people said of one: {errors[BY_ROWS]:.2f}, where those five "
        f"themselves come to {errors[RATERS]:.2f}. A head on word pieces learns them by heart too, trained "
        f"{LONGER} times as long: {errors[BY_PIECES_LONGER]:.2f}. Rows alone can tell apart the "
        f"{emoticons.alike.sum()} emoticons that share all their pieces with another, {apart}: "
        f"{alike[BY_ROWS]:.2f} against {alike[BY_PIECES_LONGER]:.2f}. And for an emoticon that nobody rated "
        "a new row learns nothing. There the pieces carry over: on a fifth held out of training they come to "
        f"{held_out['word pieces']:.2f}, the mean of the others to {held_out['mean of the others']:.2f}. "
        "One run, one split."
    )


def _prove(
    stage: Stage, folder: Path, larger: Any, done: fl.Run, tokens: dict[str, Any], vocabulary: int
) -> dict[str, Any]:
    stage.step("3. Prove what moved")
    folder.mkdir(parents=True, exist_ok=True)
    model_file, delta_file = folder / "tokens.keras", folder / "tokens.safetensors"
    if done.receipt is not None:
        done.receipt.save(folder / "receipt-tokens.json")
    stage.draw(done.receipt)
    table = fl.inventory(larger).by_address[TABLE].numpy()
    identical = table[:vocabulary].tobytes() == minilm.published("embeddings/word/embeddings").tobytes()
    verdict = "are" if identical else "are NOT"
    stage.say(f"The {vocabulary:,} old rows {verdict} those of the published file, bit by bit.")
    fl.save_delta(larger, delta_file, base=done)
    fl.save_model(larger, model_file)
    expected = _predicted(larger, tokens)
    plain = keras.models.load_model(model_file, compile=False)
    apart = float(np.abs(_predicted(plain, tokens) - expected).max())
    same = "predicts the same" if apart == 0 else f"predicts the same within {apart:.1g}"
    size, whole = delta_file.stat().st_size, model_file.stat().st_size
    stage.say(
        f"What trained is a file of {size / 1e6:.2f} MB; the model is one of {whole / 1e6:.0f} MB. Plain "
        f"Keras opens the model and {same}.\n\n"
        f"Written to {folder}: the model, the delta and the receipt. Check them yourself:\n"
        f"  frostline verify {folder / 'receipt-tokens.json'} --after {model_file}\n"
        f"  frostline delta show {delta_file}"
    )
    return {"old_rows_identical": identical, "delta_bytes": size, "plain_keras_differs_by": apart}
