"""Collecting garbage where no TensorFlow iterator is at work, and soon.

A `fit` that raises leaves an iterator behind, in a cycle. TensorFlow waits for its threads when that is
destroyed. One of them may wait for Python's lock, which is held meanwhile, to ask a generator for more, and
Keras's own tests would hang as well. Another sleeps twice as long each time and is not woken: an iterator of
a minute ago takes a minute. Hence Python is not left there to look for cycles when it likes.
"""

import gc
import time

import keras

_SECONDS = 1.0
"""How often garbage is collected."""

_collected = 0.0


def hold_back() -> None:
    """From now on, on TensorFlow, collect garbage only where `collect_at_rest` is called.

    What was imported is not garbage: to look through it, again and again, would take half a second each time.
    """
    global _collected
    gc.collect()
    gc.freeze()
    if keras.backend.backend() == "tensorflow":
        gc.disable()
        _collected = time.monotonic()


def collect_soon() -> None:
    """Collect garbage after a `fit` that raised: its iterator waits as long to end as it has been left."""
    collect_at_rest(after=0.0)


def collect_at_rest(after: float = _SECONDS) -> None:
    """Collect garbage if the last time was a while ago. On the other backends Python does so by itself."""
    global _collected
    if _collected and time.monotonic() - _collected > after:
        time.sleep(0.05)
        gc.collect()
        # TensorFlow keeps thousands of objects for each model that was ever fitted. They were looked through
        # again each time, and took half of the run in the end.
        gc.freeze()
        _collected = time.monotonic()
