"""What holds for all tests that run on a backend."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import keras
import pytest

from helpers import checks, kept_facts, keras_facts
from helpers.command_line import Runner
from helpers.garbage import collect_at_rest, hold_back


def pytest_configure(config: pytest.Config) -> None:
    """On JAX, compile quickly, and keep it for the whole run: test after test asks for the same programs.

    Not for longer: a process that is killed may leave half a program behind, which JAX never writes anew.
    """
    kept_facts.keep(config)
    if keras.backend.backend() != "jax":
        return
    if not checks.THOROUGH:
        # Before the first compilation, and for processes that tests start too. The newer way to write fused
        # loops takes twice the time to compile them, and `make test-all` takes it.
        flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    import jax

    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    jax.config.update("jax_compilation_cache_dir", folder.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is known of Keras, as long as it is the same Keras."""
    facts = [item for item in items if item.name.startswith(keras_facts.PREFIX)]
    if facts and not keras_facts.are_due():
        for item in facts:
            item.add_marker(pytest.mark.skip(reason=keras_facts.SKIPPED))


@pytest.fixture(autouse=True, scope="session")
def _garbage_held_back() -> None:
    hold_back()


@pytest.fixture(autouse=True)
def _garbage_collected_at_rest(_garbage_held_back: None) -> Iterator[None]:
    yield
    collect_at_rest()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """The command line, in this process."""
    return Runner(monkeypatch, capsys)


@pytest.fixture(autouse=True, scope="module")
def _quick_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compile as quickly as can be, unless the module's numbers are those of optimized programs.

    `make test-all` compiles everything as a user's program is compiled.
    """
    marks = {mark.name for mark in request.node.iter_markers()}
    with ExitStack() as quick:
        if "optimized" not in marks and not checks.THOROUGH:
            quick.enter_context(checks.quick_compilation())
        yield
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def _no_tracing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a module or a test is marked `eager`, let TensorFlow run its training step as plain Python."""
    eager = request.node.get_closest_marker("eager") is not None and not checks.THOROUGH
    with checks.eager_on_tensorflow() if eager else nullcontext():
        yield
