"""What is read of a backend behind its public names is there, and is named where a version lacks it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import frostline as fl
from frostline.backends import private as guard
from frostline.backends.dispatch import of_backend
from frostline.errors import UnsupportedBackendError, UnsupportedVersionError
from helpers.small_models import compiled, data_for, two_dense

pytestmark = pytest.mark.every_backend

BACKEND = keras.backend.backend()
NAME = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}[BACKEND]
VERSION = importlib.import_module(BACKEND).__version__


def custom() -> keras.Model:
    """A model whose gradient graph asks for most of what is read: loops, conditions, no derivatives."""

    class Many(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            turned = ops.fori_loop(0, 2, lambda _, value: value * 0.5, x)
            chosen = ops.cond(ops.sum(x) > 0, lambda: turned, lambda: -turned)
            return chosen + ops.round(x) + ops.sign(x)

    return compiled(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Many(), keras.layers.Dense(2)])
    )


def test_the_installed_backend_is_one_that_was_tried() -> None:
    assert VERSION.partition("+")[0] in guard.TRIED_ON[BACKEND]


def test_all_names_are_there() -> None:
    model = custom()
    data = np.ones((4, 4), "float32"), np.zeros((4, 2), "float32")
    assert fl.audit(model, *data).notes == ()
    assert fl.fit(model, fl.Plan().train("**"), *data, verbose=0).gradients_not_checked == ""


class Bare:
    """Has none of the names."""


def parts() -> dict[str, Callable[[Any], Any]]:
    """What is read of a backend, by the name that is read first."""
    internals = of_backend("internals")
    if BACKEND == "torch":
        node = internals.random_gradients
        return {
            "_base": internals.base_of,
            "_input_metadata": node,
            "_saved_self": internals.is_of_complex,
        }
    if BACKEND == "jax":
        return {
            "source_info": internals.scopes,
            "aval": internals.shape_of,
            "replace": lambda bare: internals.alone(bare, bare, []),
        }
    return {"_autograph": internals.wants_autograph, "graph": lambda bare: guard.private(bare, "graph")}


@pytest.mark.parametrize("place", range(3))
def test_a_missing_name_is_named_with_the_version(place: int) -> None:
    found = list(parts().items())
    name, read = found[place % len(found)]
    with pytest.raises(UnsupportedBackendError) as caught:
        read(Bare())
    assert str(caught.value) == (
        f"Bare has no attribute {name!r}.\n"
        f"  received: {NAME} {VERSION}\n"
        f"  expected: a version Frostline was tried on: {', '.join(guard.TRIED_ON[BACKEND])}\n"
        f"  fix:      pip install '{BACKEND}=={guard.TRIED_ON[BACKEND][0]}'"
    )
    assert isinstance(caught.value, UnsupportedVersionError)


def test_a_missing_parameter_and_a_missing_module_are_named() -> None:
    with pytest.raises(UnsupportedBackendError, match=r"^scan has no parameter 'num_consts'\."):
        guard.entry({}, "num_consts", "scan")
    with pytest.raises(UnsupportedBackendError, match=r"^there is no module 'keras.src.no_such'\."):
        guard.module("keras.src.no_such")


def break_reader(monkeypatch: pytest.MonkeyPatch) -> str:
    """Take something away that the reader needs, and return what is said of it."""
    internals = of_backend("internals")
    if BACKEND == "torch":
        monkeypatch.setattr(internals, "private", lambda owner, name: guard.private(Bare(), name))
        return "Bare has no attribute '_version'"
    if BACKEND == "jax":
        monkeypatch.setattr(internals, "private", lambda owner, name: guard.private(Bare(), name))
        return "Bare has no attribute"
    monkeypatch.setattr(internals._ops, "get_gradient_function", None)
    monkeypatch.delattr(internals._ops, "get_gradient_function")
    return "has no attribute 'get_gradient_function'"


def cut() -> keras.Model:
    """Dense, rounded, Dense: the first one gets no gradient."""
    inputs = keras.Input((4,))
    hidden = ops.round(keras.layers.Dense(3, name="a")(inputs))
    return compiled(keras.Model(inputs, keras.layers.Dense(2, name="b")(hidden)))


def test_a_reader_that_lacks_a_name_is_said_by_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = two_dense(), data_for(two_dense())
    compiled(model)
    said = break_reader(monkeypatch)
    with pytest.raises(UnsupportedBackendError, match=said):
        fl.audit(model, *data)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # what Keras says of it on TensorFlow
def test_a_reader_that_lacks_a_name_is_said_by_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    said = break_reader(monkeypatch)
    data = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")
    with pytest.warns(UserWarning, match="gradients were not checked before training: ") as warned:
        run = fl.fit(cut(), fl.Plan(default="train"), *data, verbose=0)
    text = next(str(w.message) for w in warned if "gradients were not checked" in str(w.message))
    assert said in text and f"{BACKEND} {VERSION}" in text and "please report" in text
    assert said in run.gradients_not_checked
    assert run.receipt.gradients_not_checked == run.gradients_not_checked


class Broken:
    """Stands for a reader that fails in some way that nobody thought of."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise self._error


@pytest.mark.parametrize("error", [AttributeError("gone"), KeyError("num_consts"), ImportError("moved")])
def test_what_fails_in_the_readers_own_code_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    # The innermost frame is one of this folder's, as where a name is missing that no function guards.
    monkeypatch.setattr(guard, "_HERE", __file__)
    monkeypatch.setattr("frostline.backends.dispatch.reader", Broken(error))
    model = compiled(two_dense())
    with pytest.raises(UnsupportedBackendError, match=rf"^Frostline cannot read what {NAME} holds: "):
        fl.audit(model, *data_for(model))


def test_what_fails_in_the_users_code_stays_the_users() -> None:
    def loss(y: Any, predicted: Any) -> Any:
        return {}["no_such_thing"]

    model = compiled(two_dense())
    with pytest.raises(KeyError, match="no_such_thing"):
        fl.audit(model, *data_for(model), loss=loss)
