"""The demo of new tokens, from end to end, with a small encoder of random weights for one epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import frostline as fl
from frostline.demo import minilm, tokens
from frostline.demo.encoder import EncoderConfig, build_encoder
from frostline.demo.progress import Stage

SMALL = EncoderConfig(width=12, heads=2, blocks=1, intermediate=16)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The published table of the small encoder, once it was loaded."""
    pytest.importorskip("tokenizers")
    table: dict[str, Any] = {}

    def load_encoder() -> Any:
        encoder = build_encoder(SMALL)
        table["published"] = fl.inventory(encoder).by_address["embeddings/word/embeddings"].numpy()
        return encoder

    monkeypatch.setattr(minilm, "load_encoder", load_encoder)
    monkeypatch.setattr(minilm, "published", lambda address: table["published"])
    monkeypatch.setattr(tokens, "EPOCHS", 1)
    monkeypatch.setattr(tokens, "BATCH", 64)
    return table


def test_the_demo(small: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figures = tokens.run(Stage(), tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    assert figures["verified"] == [True]
    assert figures["old_rows_identical"]
    assert figures["plain_keras_differs_by"] < 1e-6
    assert figures["delta_bytes"] < 100_000
    assert figures["mean_absolute_error"][tokens.RATERS] == pytest.approx(0.512, abs=1e-3)
    for sentence in (
        "274 emoticons such as",
        "1. train 'encoder/embeddings/word/embeddings' (rows 30522:) 2. train 'head/**'",
        "This is lookup, not generalisation.",
        "The 30,522 old rows are those of the published file, bit by bit.",
        "Plain Keras opens the model and predicts the same",
    ):
        assert sentence in printed, sentence

    rows = fl.inventory(fl.load_model(tmp_path / "tokens.keras")).by_address[tokens.TABLE].numpy()
    assert rows.shape == (30522 + 274, 12)
    assert rows[:30522].tobytes() == small["published"].tobytes()


def test_a_row_starts_as_the_mean_of_its_pieces(small: dict[str, Any]) -> None:
    emoticons = tokens._load()
    larger, _ = fl.grow_embedding(tokens._regressor(0), tokens.TABLE, 274, emoticons.pieces)
    table = fl.inventory(larger).by_address[tokens.TABLE].numpy()
    assert table[:30522].tobytes() == small["published"].tobytes()
    for new in (0, 100, 273):
        expected = small["published"][list(emoticons.pieces[new])].astype("float64").mean(axis=0)
        np.testing.assert_allclose(table[30522 + new], expected, rtol=1e-6)
    assert emoticons.alike.sum() == 22
    inputs = emoticons.as_tokens(30522)
    assert inputs["token_ids"][:2].tolist() == [[101, 30522, 102], [101, 30523, 102]]
