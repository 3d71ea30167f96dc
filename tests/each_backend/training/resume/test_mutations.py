"""Whatever is changed between two parts of a run, or between before and after, is named; nothing else is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import HealthCheck, event, given, settings

import frostline as fl
from frostline.errors import FrostlineError, ResumeError
from helpers import mutations
from helpers.checks import THOROUGH, examples
from helpers.mutations import MEANINGLESS, Mutation, Spec

SPEC = Spec()
SOME = settings(
    max_examples=examples(12, 6, 6),
    deadline=None,
    derandomize=not THOROUGH,  # the same few in `make test`; others each time in `make test-all`
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Stop(keras.callbacks.Callback):
    """Interrupts a run behind its first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def train(spec: Spec, folder: Path, run: Path, *callbacks: Any) -> fl.Run:
    more = dict(spec.fit)
    return fl.fit(
        spec.model(folder),
        spec.plan_of(),
        *spec.samples(),
        epochs=2,
        verbose=0,
        resume=run,
        callbacks=list(callbacks),
        **more,
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted, and below it the code of its user."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.raises(KeyboardInterrupt):
        train(SPEC, folder, folder / "run", Stop())
    return folder


@SOME
@given(mutation=mutations.of_runs(SPEC))
def test_what_changes_between_two_parts_of_a_run_is_named(
    begun: Path, tmp_path: Path, mutation: Mutation
) -> None:
    what, spec, named = mutation
    event(what.split()[0])
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    shutil.copytree(begun / "run", tmp_path / "run")
    with pytest.raises(FrostlineError) as caught:
        train(spec, begun, tmp_path / "run")
    assert isinstance(caught.value, ResumeError), what
    assert re.search(named, str(caught.value.received)), f"{what}: {caught.value}"


@pytest.mark.parametrize("form", MEANINGLESS)
def test_another_form_of_the_same_goes_on(begun: Path, tmp_path: Path, form: str) -> None:
    shutil.copytree(begun / "run", tmp_path / "run")
    spec, folder = MEANINGLESS[form](SPEC, begun)
    assert train(spec, folder, tmp_path / "run").resumed == 1


@pytest.fixture(scope="module")
def before(begun: Path) -> fl.Fingerprint:
    """Of the model that everything begins with."""
    return fl.fingerprint(SPEC.model(begun))


@SOME
@given(mutation=mutations.of_models(SPEC))
def test_a_model_that_is_another_is_not_verified(
    begun: Path, before: fl.Fingerprint, mutation: Mutation
) -> None:
    what, spec, named = mutation
    model = spec.model(begun)
    try:
        found = fl.verify(model, before, spec.plan_of())
    except FrostlineError as error:
        assert re.search(named, str(error)), f"{what}: {error}"
        return
    assert not found.ok, what
    broken = [f.address for f in found.findings if f.violation]
    assert any(re.search(named, address) for address in broken), f"{what}: {broken}"


@SOME
@given(mutation=mutations.of_models(SPEC))
def test_a_delta_is_refused_by_another_base(begun: Path, delta: Path, mutation: Mutation) -> None:
    what, spec, named = mutation
    model = spec.model(begun)
    before = fl.fingerprint(model)
    with pytest.raises(FrostlineError) as caught:
        fl.load_delta(model, delta)
    assert re.search(named, str(caught.value)), f"{what}: {caught.value}"
    assert fl.fingerprint(model) == before, what


@pytest.fixture(scope="module")
def delta(begun: Path) -> Path:
    """What an epoch changed of the head."""
    model = SPEC.model(begun)
    run = fl.fit(model, SPEC.plan_of(), *SPEC.samples(), verbose=0, **dict(SPEC.fit))
    fl.save_delta(model, begun / "d.safetensors", base=run)
    return begun / "d.safetensors"


@pytest.fixture(scope="module")
def finished(begun: Path) -> fl.Run:
    """A run without a folder."""
    return fl.fit(SPEC.model(begun), SPEC.plan_of(), *SPEC.samples(), verbose=0, **dict(SPEC.fit))


@SOME
@given(mutation=mutations.of_models(SPEC))
def test_a_receipt_holds_for_its_own_models_alone(
    begun: Path, before: fl.Fingerprint, finished: fl.Run, mutation: Mutation
) -> None:
    what, spec, named = mutation
    assert finished.receipt.check(before=before) == []
    problems = finished.receipt.check(before=fl.fingerprint(spec.model(begun)))
    assert any(re.search(named, problem) for problem in problems), f"{what}: {problems}"
