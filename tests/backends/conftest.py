"""What holds for all tests that run on a backend."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import keras
import pytest

from backends import checks
from backends.command_line import Runner

_EVERY = 60
_ended = 0


@pytest.fixture(autouse=True)
def _garbage_collected_at_rest() -> Iterator[None]:
    """Let Python look for cycles only where no TensorFlow iterator is at work.

    A `fit` that raises over a generator leaves an iterator behind, in a cycle. TensorFlow waits for its
    threads when that is destroyed, with Python's lock held, while one of them may wait for the lock to ask
    the generator for more: Keras's own tests would hang as well.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    global _ended
    gc.disable()
    yield
    _ended += 1
    if _ended % _EVERY == 0:
        time.sleep(0.2)
        gc.collect()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """The command line, in this process."""
    return Runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """For modules whose models are compiled once and make a few steps."""
    with checks.quick_compilation():
        yield
    keras.utils.clear_session()
