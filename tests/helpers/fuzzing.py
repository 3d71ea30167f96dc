"""Fuzzing of every reader: what comes out is a result or a `FrostlineError`, soon, and in little memory.

    python tests/helpers/fuzzing.py READER SECONDS [SEED]

Guided by coverage: with atheris where it is installed, else by the lines that `sys.settrace` sees. What fails
is written to a file, whose name is said.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECONDS = 5.0
MEMORY = 500 << 20
GUIDED_BY = ("frostline", "yaml", "zipfile", "json", "csv", "numpy/lib")


class MishandledError(AssertionError):
    """A file that a reader mishandles; the cause says how.

    Args:
        content: The file.
        why: What happened.
    """

    def __init__(self, content: bytes, why: str) -> None:
        super().__init__(f"{why}; the file begins with {content[:200]!r}")
        self.content = content


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(reader: Any, path: Path, content: bytes) -> None:
    """Read one file, and raise `MishandledError` for whatever is neither a result nor an error in words."""
    from frostline.errors import FrostlineError

    path.write_bytes(content)
    began, before = time.process_time(), _memory()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except FrostlineError as error:
        _require_words(error, content)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise MishandledError(content, f"{type(error).__name__}: {str(error)[:300]}") from error
    took, more = time.process_time() - began, _memory() - before
    if took > SECONDS:
        if sys.gettrace() is None:
            raise MishandledError(content, f"it took {took:.1f} s of the processor")
        with _untraced():  # which takes fifty times as long where nothing but our lines run
            check(reader, path, content)
    if more > MEMORY:
        raise MishandledError(content, f"it took {more >> 20} MB")


def _require_words(error: Any, content: bytes) -> None:
    text = str(error)
    if not text.strip() or len(text) > 20_000 or "Traceback" in text:
        raise MishandledError(content, f"an error of {len(text):,} characters: {text[:200]!r}")


def fuzz(name: str, seconds: float, seed: int = 0) -> int:
    """Fuzz one reader, guided by the lines that it comes to; returns how many files were read."""
    from helpers.mutating import mutated
    from helpers.readers import READERS, placed

    reader, rng = READERS[name], random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = placed(reader, Path(folder))
        corpus, known, count = [reader.whole()], set[Any](), 0
        with _traced(known):
            check(reader, path, corpus[0])
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # The newest most often: it came to lines that none did before.
            chosen = corpus[-1] if rng.random() < 0.3 else rng.choice(corpus)
            content = mutated(chosen, path.suffix, rng)
            size = len(known)
            with _traced(known):
                check(reader, path, content)
            count += 1
            if len(known) > size and len(content) < 100_000:
                corpus.append(content)
    return count


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def _traced(known: set[Any]) -> Iterator[None]:
    """Note each step from line to line in the code that reads."""

    def lines(frame: Any, event: str, _: Any) -> Callable[..., Any]:
        nonlocal last
        known.add((frame.f_code, last, frame.f_lineno))
        last = frame.f_lineno
        return lines

    def calls(frame: Any, event: str, _: Any) -> Callable[..., Any] | None:
        return lines if any(part in frame.f_code.co_filename for part in GUIDED_BY) else None

    last, before = 0, sys.gettrace()
    sys.settrace(calls)
    try:
        yield
    finally:
        sys.settrace(before)


def fuzz_by_atheris(name: str, seconds: float, seed: int) -> None:
    """Fuzz one reader with atheris, which ends the process."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["frostline", "yaml", "zipfile", "json.decoder", "csv"]):
        from helpers.mutating import mutated
        from helpers.readers import READERS, placed
    reader = READERS[name]
    folder = tempfile.mkdtemp()
    path, seeds = placed(reader, Path(folder)), Path(tempfile.mkdtemp())
    (seeds / "whole").write_bytes(reader.whole())

    def one(content: bytes) -> None:
        try:
            check(reader, path, content)
        except MishandledError as failed:
            _keep(name, failed)
            raise

    def mutate(content: bytes, most: int, number: int) -> bytes:
        return mutated(content, path.suffix, random.Random(number))[:most]

    options = [f"-max_total_time={int(seconds)}", "-max_len=1048576", f"-seed={seed + 1}", "-rss_limit_mb=0"]
    atheris.Setup(
        [sys.argv[0], *options, f"-timeout={int(SECONDS) * 4}", str(seeds)], one, custom_mutator=mutate
    )
    atheris.Fuzz()


def _keep(name: str, failed: MishandledError) -> None:
    place = Path(tempfile.gettempdir()) / f"frostline-fuzz-{name.replace(' ', '-')}-{os.getpid()}"
    place.write_bytes(failed.content)
    sys.stderr.write(f"FAILED {name}: {failed}\nkept in {place}\n")


def main() -> None:
    """Fuzz the reader that the command line names."""
    name, seconds, seed = sys.argv[1], float(sys.argv[2]), int((*sys.argv[3:], "0")[0])
    try:
        import atheris  # noqa: F401
    except ImportError:
        try:
            sys.stdout.write(f"{fuzz(name, seconds, seed)} files\n")
        except MishandledError as failed:
            _keep(name, failed)
            sys.exit(1)
    else:
        fuzz_by_atheris(name, seconds, seed)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
