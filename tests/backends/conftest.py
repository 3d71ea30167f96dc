"""What holds for all tests that run on a backend."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import keras
import pytest

from backends import checks
from backends.command_line import Runner

_SECONDS = 4.0
"""How often TensorFlow's garbage is collected."""

_collected = 0.0


@pytest.fixture(autouse=True)
def _garbage_collected_at_rest() -> Iterator[None]:
    """Let Python look for cycles only where no TensorFlow iterator is at work, and soon.

    A `fit` that raises leaves an iterator behind, in a cycle. TensorFlow waits for its threads when that is
    destroyed. One of them may wait for Python's lock, which is held meanwhile, to ask a generator for more:
    Keras's own tests would hang as well. Another sleeps twice as long each time and is not woken, so that an
    iterator of a minute ago takes a minute.
    """
    global _collected
    if keras.backend.backend() != "tensorflow":
        yield
        return
    if not _collected:
        gc.disable()
        gc.collect()
        gc.freeze()
    yield
    if time.monotonic() - _collected > _SECONDS:
        time.sleep(0.1)
        gc.collect()
        _collected = time.monotonic()


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
