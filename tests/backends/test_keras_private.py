"""Every private name of Keras that Frostline relies on is there and means what it meant.

When a new version of Keras fails here, mend the package `frostline/_keras`, and add the version to
`TRIED_ON`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.backend import compute_output_spec
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from backends import small_models
from backends.small_models import compiled, fit, value_of
from frostline import _keras
from frostline.errors import UnsupportedKerasError

BACKEND = keras.backend.backend()


def names(objects: Any) -> list[str]:
    return [one.name for one in objects]


def built_adam(*variables: Any) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.Adam(0.1, weight_decay=0.5)
    optimizer.build(list(variables))
    return optimizer


def variable(name: str = "v") -> keras.Variable:
    return keras.Variable(np.ones(2, "float32"), name=name)


def test_the_installed_keras_is_one_that_was_tried() -> None:
    assert keras.__version__ in _keras.TRIED_ON


def test_every_function_has_its_test() -> None:
    functions = {name for name in _keras.__all__ if inspect.isfunction(getattr(_keras, name))}
    tested = inspect.getsource(inspect.getmodule(test_every_function_has_its_test))  # type: ignore[arg-type]
    assert {name for name in functions if f"_keras.{name}(" not in tested} == set()


# Layers -------------------------------------------------------------------------------------------


def test_sublayers_come_once_and_in_order() -> None:
    model = small_models.subclassed()
    assert names(_keras.sublayers(model)) == ["block", "head"]
    assert names(_keras.sublayers(model.block)) == ["inner", "outer"]
    model.again = model.block
    assert names(_keras.sublayers(model)) == ["block", "head"]
    assert names(_keras.sublayers(small_models.two_dense())) == ["x", "a", "b"]


def test_weights_statistics_and_seeds_are_told_apart() -> None:
    norm = small_models.batch_norm().get_layer("bn")
    drop = small_models.nested_dropout().get_layer("backbone").get_layer("drop")
    for flag in (True, False):
        norm.trainable = flag
        assert names(_keras.own_weights(norm)) == ["gamma", "beta"]
        assert names(_keras.own_statistics(norm)) == ["moving_mean", "moving_variance"]
    assert _keras.seed_generators(norm) == []
    assert [type(one) for one in _keras.seed_generators(drop)] == [keras.random.SeedGenerator]


def test_a_layer_flag_is_of_this_layer_alone() -> None:
    model = small_models.subclassed()
    assert _keras.layer_flag(model.block) is True
    _keras.set_layer_flag(model.block, False)
    assert _keras.layer_flag(model.block) is False
    assert model.block.trainable is False
    assert model.block.inner.trainable is True
    assert model.block.inner.kernel.trainable is True


@pytest.mark.parametrize("build", [small_models.two_dense, small_models.sequential])
def test_producers_follow_the_graph(build: Callable[[], keras.Model]) -> None:
    model = build()
    a, b = model.get_layer("a"), model.get_layer("b")
    feeds = _keras.producers(model)
    assert feeds[id(b)] == [id(a)]
    assert len(feeds[id(a)]) == 1
    assert feeds[feeds[id(a)][0]] == []


def test_a_record_is_kept_on_the_model_alone() -> None:
    model = small_models.two_dense()
    assert _keras.noted(model) is None
    record = object()
    _keras.note(model, record)
    assert _keras.noted(model) is record
    assert _keras.noted(keras.models.clone_model(model)) is None
    assert _keras.noted(model.get_layer("a")) is None


def test_a_subclassed_model_has_no_producers() -> None:
    assert _keras.producers(small_models.subclassed()) == {}


class Watching(keras.layers.Layer):
    """Notes what is known while it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = SimpleNamespace()

    def call(self, inputs: Any, training: Any = None) -> Any:
        self.seen.entry, self.seen.training = _keras.entry_layer(), training
        return inputs


def test_the_outermost_layer_is_known_while_it_is_called() -> None:
    watching = Watching()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, watching(inputs))
    model(np.ones((1, 2), "float32"))
    assert watching.seen.entry is model
    assert _keras.entry_layer() is None


class Calling(keras.layers.Layer):
    """Calls one layer with `training=False` and another without."""

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps
        self.first, self.second = Watching(), Watching()

    def call(self, inputs: Any, training: Any = None) -> Any:
        if not self.keeps:
            return self.second(self.first(inputs, training=False))
        return self.second(_keras.call_apart(self.first, inputs, training=False))


@pytest.mark.parametrize(("keeps", "expected"), [(True, True), (False, False)])
def test_a_training_argument_stays_inside(keeps: bool, expected: bool) -> None:
    layer = Calling(keeps)
    layer(np.ones((1, 2), "float32"), training=True)
    assert (layer.first.seen.training, layer.second.seen.training) == (False, expected)


def test_a_training_argument_outside_of_any_call_is_no_matter() -> None:
    assert _keras.call_apart(_keras.entry_layer) is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "bool"])
def test_glimpse_is_what_keras_converts_to(dtype: str) -> None:
    held = keras.Variable(np.array([0, 1, 2]), dtype=dtype, trainable=False)
    seen, expected = _keras.glimpse(held), keras.ops.convert_to_numpy(held)
    assert seen.dtype == expected.dtype
    assert seen.tobytes() == expected.tobytes()


def test_glimpse_copies_nothing() -> None:
    held = keras.Variable(np.zeros((64, 64), "float32"), trainable=False)
    assert np.shares_memory(_keras.glimpse(held), _keras.glimpse(held))


def test_a_variable_made_in_a_stateless_scope_has_no_value_yet() -> None:
    assert _keras.has_value(variable())
    with keras.StatelessScope():
        made = keras.Variable("ones", shape=(2,), name="made")
        assert not _keras.has_value(made)
    assert _keras.has_value(made)


# Trainers -------------------------------------------------------------------------------------------


def test_functions_are_renewed() -> None:
    model = small_models.fitted(small_models.two_dense())
    x, _ = small_models.data_for(model)
    model.predict(x, verbose=0)
    trained, predicted = model.train_function, model.predict_function
    _keras.renew_functions(model)
    assert model.train_function is not None
    assert model.train_function is not trained
    assert predicted is not None
    assert model.predict_function is not predicted
    fit(model)


def test_functions_that_never_were_are_not_made() -> None:
    model = compiled(small_models.two_dense())
    _keras.renew_functions(model)
    assert model.train_function is None
    _keras.renew_functions(keras.layers.Dense(2))


def test_changed_flags_give_no_warning_after_renewal() -> None:
    # Keras 3.15.1 has the warning and never gets to it.
    model = compiled(small_models.two_dense())
    model.get_layer("a").trainable = False
    with pytest.warns(UserWarning, match="`trainable` state has changed"):
        model._warn_if_trainable_state_changed()
    model.get_layer("a").trainable = True
    _keras.renew_functions(model)
    model._warn_if_trainable_state_changed()


class Reading(keras.callbacks.Callback):
    """Reads the kernel of a layer after every batch.

    Not by `self.model`, which settles the values by itself.
    """

    def __init__(self, held: keras.Model) -> None:
        super().__init__()
        self.held = held
        self.seen: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        _keras.settle(self.held)
        self.seen.append(value_of(self.held.get_layer("a").kernel))


def test_values_are_settled_inside_a_fit() -> None:
    model = compiled(small_models.two_dense())
    reading = Reading(model)
    first = value_of(model.get_layer("a").kernel)
    fit(model, callbacks=[reading])
    before_last, last = reading.seen
    assert not np.array_equal(first, before_last)
    assert not np.array_equal(before_last, last)
    np.testing.assert_array_equal(last, value_of(model.get_layer("a").kernel))
    _keras.settle(keras.layers.Dense(2))


def test_values_outlive_a_fit_that_fails() -> None:
    # Keras calls the loss once before the training step, but for TensorFlow.
    calls: list[int] = []
    before_training = 0 if BACKEND == "tensorflow" else 1

    def failing_loss(y: Any, predicted: Any) -> Any:
        calls.append(1)
        if len(calls) > before_training:
            raise RuntimeError("no loss")
        return small_models.squared_error(y, predicted)

    model = compiled(small_models.two_dense(), loss=failing_loss)
    before = {w.path: value_of(w) for w in model.weights}
    with pytest.raises(RuntimeError, match="no loss"), _keras.values_kept(model):
        fit(model)
    assert len(calls) == before_training + 1
    for weight in model.weights:
        np.testing.assert_array_equal(value_of(weight), before[weight.path])


def test_no_two_variables_share_a_buffer() -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.SGD(0.1, use_ema=True))
    fit(model)
    _keras.unshare(model)
    values = [v.value for v in (*model.variables, *model.optimizer.variables)]
    assert len({id(value) for value in values}) == len(values)
    fit(model)


def test_averages_are_finished_as_fit_does() -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))
    x, y = small_models.data_for(model)
    for _ in range(2):
        model.train_on_batch(x, y)
    kernel = model.get_layer("a").kernel
    averages = [
        value_of(v) for v in model.optimizer.variables if "average" in v.name and v.shape == kernel.shape
    ]
    assert not np.array_equal(value_of(kernel), averages[0])
    _keras.finish_averages(model)
    np.testing.assert_array_equal(value_of(kernel), averages[0])
    model.train_on_batch(x, y)
    plain = compiled(small_models.two_dense())
    _keras.finish_averages(plain)
    assert not plain.optimizer.built


def test_call_for_training_and_compute_loss_are_what_fit_minimizes() -> None:
    model = compiled(two_dense_with_penalty(), keras.optimizers.SGD(0.0))
    x, y = small_models.data_for(model)
    predicted = _keras.call_for_training(model, x)
    loss = _keras.compute_loss(model, x, y, predicted, None)
    logs = model.train_on_batch(x, y, return_dict=True)
    assert keras.ops.convert_to_numpy(loss) == pytest.approx(float(logs["loss"]), rel=1e-5)


def test_call_for_inference_is_what_predict_gives() -> None:
    model = small_models.nested_dropout()
    x, _ = small_models.data_for(model)
    called = keras.ops.convert_to_numpy(_keras.call_for_inference(model, x))
    np.testing.assert_allclose(called, model.predict(x, verbose=0), rtol=1e-5)


def two_dense_with_penalty() -> keras.Model:
    return small_models.two_dense(regularizer="l2")


def test_training_done_names_the_function_and_its_steps() -> None:
    model = compiled(small_models.sequential())
    assert _keras.training_done(model) is None
    fit(model)
    function, steps = _keras.training_done(model) or (None, 0)
    assert function is model.train_function and steps > 0
    fit(model)
    assert _keras.training_done(model) == (function, 2 * steps)


# Optimizers -----------------------------------------------------------------------------------------


def test_a_chain_ends_in_the_optimizer_that_updates() -> None:
    inner = keras.optimizers.SGD(0.1)
    outer = keras.optimizers.LossScaleOptimizer(inner)
    assert _keras.optimizer_chain(outer) == [outer, inner]
    assert _keras.optimizer_chain(inner) == [inner]


def test_variables_of_an_optimizer() -> None:
    one, two = variable("one"), variable("two")
    optimizer = built_adam(one, two)
    key = _keras.variable_key(optimizer)
    assert key(one) == key(one)
    assert key(one) != key(two)
    assert [id(v) for v in _keras.optimizer_targets(optimizer)] == [id(one), id(two)]
    own = _keras.optimizer_own_variables(optimizer)
    assert len(own) == 2 + 2 * 2
    counters = _keras.optimizer_counters(optimizer)
    assert [v.name for v in counters] == ["iteration", "learning_rate"]
    assert all(any(c is v for v in own) for c in counters)
    scheduled = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    assert [v.name for v in _keras.optimizer_counters(scheduled)] == ["iteration"]


def test_an_optimizer_is_unbuilt_and_built_for_others() -> None:
    one, two = variable("one"), variable("two")
    optimizer = built_adam(one)
    optimizer.apply([keras.ops.ones(2)], [one])
    _keras.unbuild_optimizer(optimizer)
    assert not optimizer.built
    assert [v.name for v in optimizer.variables] == ["iteration", "learning_rate"]
    optimizer.build([two])
    optimizer.apply([keras.ops.ones(2)], [two])
    assert int(value_of(optimizer.iterations)) == 2
    assert len(optimizer.variables) == 2 + 2


@pytest.mark.parametrize("joined", [0, 3])
def test_steps_are_counted_from_where_a_weight_joined(joined: int) -> None:
    optimizer = built_adam(variable())
    counter = optimizer.iterations
    counter.assign(5)
    tracked = len(optimizer.variables)
    with _keras.steps_counted_from(optimizer, joined):
        assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 5 - joined
    assert optimizer.iterations is counter
    assert len(optimizer.variables) == tracked


def test_steps_are_as_before_after_a_failure() -> None:
    optimizer = built_adam(variable())
    counter = optimizer.iterations
    with pytest.raises(KeyError), _keras.steps_counted_from(optimizer, 1):
        raise KeyError
    assert optimizer.iterations is counter


def test_a_method_is_replaced_once_and_restored() -> None:
    layer = keras.layers.Dense(2)
    original = layer.call

    def shouting(call: Callable[..., Any]) -> Callable[..., Any]:
        def louder(*args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs) + 1

        return louder

    x = np.ones((1, 2), "float32")
    plain = keras.ops.convert_to_numpy(layer(x))
    config = layer.get_config()
    for _ in range(2):
        _keras.replace_method(layer, "call", shouting)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), plain + 1, rtol=1e-6)
        assert layer.get_config() == config
    _keras.restore_method(layer, "call")
    _keras.restore_method(layer, "call")
    assert layer.call == original
    assert "call" not in vars(layer)


def test_a_method_replaced_by_somebody_else_stays() -> None:
    layer = keras.layers.Dense(2)
    theirs = layer.call
    object.__setattr__(layer, "call", theirs)
    _keras.restore_method(layer, "call")
    assert vars(layer)["call"] is theirs
    _keras.replace_method(layer, "call", lambda call: lambda inputs: call(inputs))
    _keras.restore_method(layer, "call")
    assert vars(layer)["call"] is theirs


def test_the_hooks_of_an_optimizer_are_called_at_each_step() -> None:
    weight = variable()
    optimizer = keras.optimizers.Adam(0.5, weight_decay=0.5, use_ema=True)
    optimizer.build([weight])
    called = []
    for name in _keras.update_hooks():

        def noting(original: Callable[..., Any], name: str = name) -> Callable[..., Any]:
            def noted(*args: Any, **kwargs: Any) -> Any:
                called.append(name)
                return original(*args, **kwargs)

            return noted

        _keras.replace_method(optimizer, name, noting)
    optimizer.apply([keras.ops.ones(2)], [weight])
    assert sorted(called) == sorted(_keras.update_hooks())


def test_averages_are_those_of_some_weights_for_a_while() -> None:
    optimizer = keras.optimizers.SGD(0.1, use_ema=True)
    optimizer.build([variable(), variable()])
    every = optimizer._model_variables_moving_average
    with _keras.averages_at(optimizer, [1]):
        assert optimizer._model_variables_moving_average == [every[1]]
    assert optimizer._model_variables_moving_average is every
    plain = built_adam(variable())
    with _keras.averages_at(plain, [0]):
        pass


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_momentum_product_of_nadam_follows_its_steps(steps: int) -> None:
    weight = variable()
    optimizer = keras.optimizers.Nadam(0.1)
    optimizer.build([weight])
    for _ in range(steps):
        optimizer.apply([keras.ops.ones(2)], [weight])
    expected = float(keras.ops.convert_to_numpy(optimizer._u_product))
    optimizer._u_product.assign(0.5)
    _keras.set_momentum_product(optimizer)
    assert float(keras.ops.convert_to_numpy(optimizer._u_product)) == pytest.approx(expected, rel=1e-6)
    optimizer._iterations.assign(10**6)
    _keras.set_momentum_product(optimizer, ahead=1)
    assert float(keras.ops.convert_to_numpy(optimizer._u_product)) < 1e-36
    _keras.set_momentum_product(built_adam(weight))


def test_decay_is_scaled_for_a_while() -> None:
    optimizer = built_adam(variable())
    with _keras.decay_scaled_by(optimizer, 0.25):
        assert optimizer.weight_decay == 0.125
    assert optimizer.weight_decay == 0.5
    plain = keras.optimizers.SGD(0.1)
    with pytest.raises(KeyError), _keras.decay_scaled_by(plain, 0.25):
        raise KeyError
    assert plain.weight_decay is None


def test_metrics_have_their_variables() -> None:
    model = small_models.fitted(small_models.two_dense())
    assert [(name, v.name) for name, v in _keras.metric_variables(model)] == [
        ("loss", "total"),
        ("loss", "count"),
    ]
    assert list(_keras.metric_variables(keras.layers.Dense(2))) == []


# Weights made of parts ----------------------------------------------------------------------------


class Twin(keras.Variable):
    """Of another class."""


def split_dense() -> tuple[keras.layers.Layer, Any, Any, Any]:
    """A Dense layer, its kernel, and a part and a base that stand for it."""
    layer = keras.layers.Dense(2, name="a")
    layer.build((None, 3))
    kernel = layer.kernel
    base = _keras.same_storage(kernel, Twin)
    part = keras.Variable(np.ones((1, 2), "float32"), name="kernel_part")
    for one in (base, part):
        one.frostline_weight = kernel
    return layer, kernel, part, base


def test_parts_are_tracked_in_the_place_of_their_weight() -> None:
    layer, kernel, part, base = split_dense()
    base.trainable = False
    assert _keras.owns(layer, kernel)
    assert not _keras.has_parts(layer)
    _keras.track_parts(layer, kernel, [part], base)
    assert _keras.owns(layer, kernel)  # a weight that is parametrized is the layer's all the same
    assert _keras.has_parts(layer)
    assert [v.name for v in layer.weights] == ["kernel_part", "bias", "kernel"]
    assert _keras.own_weights(layer)[0] is kernel
    assert _keras.own_statistics(layer) == []
    assert _keras.whole_weight(part) is kernel
    assert _keras.whole_weight(layer.bias) is layer.bias
    assert [id(v) for v in _keras.whole_weights([part, base, layer.bias])] == [id(kernel), id(layer.bias)]
    with _keras.tracked_whole(layer):
        assert [id(v) for v in layer.weights] == [id(kernel), id(layer.bias)]
    assert len(layer.weights) == 3
    _keras.track_whole(layer, kernel, [part], base)
    assert [id(v) for v in layer.weights] == [id(kernel), id(layer.bias)]
    layer.kernel_again = kernel
    assert len(layer.weights) == 2


def test_two_variables_hold_one_tensor() -> None:
    one = variable("kernel")
    two = _keras.same_storage(one, Twin)
    assert type(two) is Twin
    assert (two.path, tuple(two.shape), two.dtype) == (one.path, (2,), "float32")
    two.assign([3.0, 4.0])
    assert _keras.has_value(one)
    _keras.let_go(one)
    assert not _keras.has_value(one)
    _keras.hold(one, two)
    assert value_of(one).tolist() == [3.0, 4.0]


def test_a_variable_is_renamed_beside_another() -> None:
    layer = split_dense()[0]
    part = variable("part")
    _keras.rename_beside(part, layer.kernel)
    assert part.path == "a/part"
    _keras.rename_beside(part, variable("alone"))
    assert part.path == "part"


def test_variables_are_read_in_their_own_dtype() -> None:
    seen = []

    class Looks(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, inputs: Any) -> Any:
            seen.append(keras.backend.standardize_dtype(self.scale.value.dtype))
            with _keras.uncast():
                seen.append(keras.backend.standardize_dtype(self.scale.value.dtype))
            return inputs

    Looks(dtype="mixed_bfloat16")(np.ones((1, 2)))
    assert seen[-2:] == ["bfloat16", "float32"]


def test_the_modules_of_pytorch_see_the_present_variables() -> None:
    layer, kernel, part, base = split_dense()
    _keras.track_parts(layer, kernel, [part], base)
    _keras.renew_parameters([layer])
    if BACKEND == "torch":
        assert set(layer.torch_params) == {"kernel_part", "a/bias", "a/kernel"}
    else:
        assert not hasattr(layer, "torch_params")


def test_a_mask_travels_with_a_tensor() -> None:
    mask = np.array([True, False])
    tensor = _keras.with_mask(keras.ops.ones((2,)), mask)
    assert tensor._keras_mask is mask


def test_parts_are_excluded_from_decay_with_their_weight() -> None:
    weight, part, other = variable("w"), variable("p"), variable("o")
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[weight])
    _keras.decay_alike(optimizer, weight, [part])
    _keras.decay_alike(optimizer, other, [other])
    assert not optimizer._use_weight_decay(part)
    assert optimizer._use_weight_decay(other)
    _keras.decay_alike(keras.optimizers.SGD(0.1), weight, [part])


def test_two_replace_one_method_and_undo_it_in_any_order() -> None:
    def adding(text: str) -> Callable[..., Any]:
        return lambda call: lambda: call() + text

    class Owner:
        def say(self) -> str:
            return "a"

    for first, second in (("weights", ""), ("", "weights")):
        owner = Owner()
        for by in (first, second):
            _keras.replace_method(owner, "say", adding(by or "mode"), by=by)
        assert owner.say() == "aweightsmode"
        _keras.restore_method(owner, "say", by=first)
        assert owner.say() == f"a{second or 'mode'}"
        _keras.restore_method(owner, "say", by=first)
        _keras.restore_method(owner, "say", by=second)
        assert vars(owner) == {}


def test_what_was_held_is_put_back_beside_what_others_replaced_since() -> None:
    class Owner:
        def say(self) -> str:
            return "a"

    owner = Owner()
    then = vars(owner).get("say")
    _keras.replace_method(owner, "say", lambda call: lambda: call() + "m")
    held = vars(owner)["say"]
    _keras.restore_held(owner, "say", held)
    assert vars(owner)["say"] is held
    _keras.replace_method(owner, "say", lambda call: lambda: call() + "w", by="weights")
    _keras.restore_held(owner, "say", then)
    assert owner.say() == "aw"
    _keras.restore_held(owner, "say", held)
    assert owner.say() == "awm"
    _keras.restore_method(owner, "say", by="weights")
    assert owner.say() == "am"


# A version that lacks a name ------------------------------------------------------------------------


class Bare:
    """Has none of the names."""


FUNCTIONS = {
    "_layers": _keras.sublayers,
    "_trainable_variables": _keras.own_weights,
    "_non_trainable_variables": _keras.own_statistics,
    "_seed_generators": _keras.seed_generators,
    "_trainable": _keras.layer_flag,
    "_var_key": _keras.variable_key,
    "_variables": _keras.optimizer_own_variables,
    "_iterations": _keras.optimizer_counters,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_missing_name_is_named_with_the_version(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(keras, "__version__", "9.9.9")
    with pytest.raises(UnsupportedKerasError) as caught:
        FUNCTIONS[name](Bare())
    assert str(caught.value) == (
        f"Bare has no attribute {name!r}.\n"
        "  received: Keras 9.9.9\n"
        "  expected: a version Frostline was tried on: 3.15.1\n"
        "  to mend:  pip install 'keras==3.15.1'"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: _keras.set_layer_flag(Bare(), True),
        lambda: _keras.optimizer_targets(Bare()),
        lambda: _keras.replace_method(Bare(), "_backend_update_step", lambda method: method),
        lambda: _keras.steps_counted_from(Bare(), 1).__enter__(),
    ],
    ids=["set_layer_flag", "optimizer_targets", "replace_method", "steps_counted_from"],
)
def test_a_missing_name_is_named_by_the_others_too(call: Callable[[], Any]) -> None:
    with pytest.raises(
        UnsupportedKerasError, match=r"^Bare has no attribute '_\w+'\.\n  received: Keras 3\."
    ):
        call()


def test_decay_of_knows_what_is_excluded() -> None:
    optimizer = keras.optimizers.AdamW(weight_decay=0.25)
    plain, excluded = variable("kernel"), variable("bias")
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([plain, excluded])
    assert _keras.decay_of(optimizer, plain) == 0.25
    assert _keras.decay_of(optimizer, excluded) == 0.0
    assert _keras.decay_of(keras.optimizers.SGD(), plain) == 0.0


def test_the_global_seed_is_known() -> None:
    keras.utils.set_random_seed(41)
    assert _keras.random_seed() == 41
    assert _keras.global_seed_state() is None
    state = _keras.make_global_seed_state()
    assert _keras.global_seed_state() is state
    before = value_of(state)
    first = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    assert value_of(state).tobytes() != before.tobytes()
    state.assign(before)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), first)


def test_mask_of_is_what_with_mask_gave() -> None:
    tensor, mask = keras.ops.ones((2, 3)), keras.ops.ones((2,), "bool")
    assert _keras.mask_of(tensor) is None
    assert _keras.mask_of(_keras.with_mask(tensor, mask)) is mask


def test_computing_in_changes_the_dtype_of_outputs_for_a_while() -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    ones = np.ones((1, 3), "float32")
    with _keras.computing_in(layer, "float16"):
        assert keras.backend.standardize_dtype(layer(ones).dtype) == "float16"
    assert keras.backend.standardize_dtype(layer(ones).dtype) == "float32"
    assert layer.kernel.dtype == "float32"


def test_losses_of_finds_the_losses_that_compile_was_given() -> None:
    model, given = small_models.two_dense(), keras.losses.MeanSquaredError()
    assert _keras.losses_of(model) == []
    model.compile("sgd", given)
    assert any(one is given for one in _keras.losses_of(model))
    with _keras.computing_in(given, "float16"):
        assert keras.backend.standardize_dtype(given(np.ones(2), np.ones(2)).dtype) == "float16"
    assert keras.backend.standardize_dtype(given(np.ones(2), np.ones(2)).dtype) == "float32"


def test_float64_kept_lets_two_dtypes_meet_in_float64() -> None:
    narrowed = keras.backend.result_type("float64", "float32")
    with _keras.float64_kept():
        assert keras.backend.result_type("float64", "float32") == "float64"
    assert keras.backend.result_type("float64", "float32") == narrowed


def test_losses_left_unbuilt_builds_a_copy() -> None:
    model = compiled(small_models.two_dense())
    x, y = small_models.data_for(model)
    with _keras.losses_left_unbuilt(model):
        _keras.compute_loss(model, x, y, model(x), None)
        assert model._compile_loss.built
    assert not model._compile_loss.built


def test_outputs_are_known_where_the_graph_has_them() -> None:
    """Keras is spared the symbolic call; what it builds from that is the same."""

    class Counted(keras.layers.Layer):  # type: ignore[misc]
        symbolic, real = 0, 0

        def call(self, inputs: Any) -> Any:
            if in_symbolic_scope():
                self.symbolic += 1
            else:
                self.real += 1
            return inputs

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((3,))
    hidden = Counted(name="counted")(inputs)
    outputs = {"a": keras.layers.Dense(2)(hidden), "b": keras.layers.Dense(1, dtype="float16")(hidden)}
    functional = keras.Model(inputs, outputs)
    sequential = keras.Sequential([keras.Input((3,)), Counted(name="counted"), keras.layers.Dense(2)])
    alone = keras.Model(inputs, [keras.layers.Dense(2)(hidden)])
    for model in (functional, sequential, alone):
        counted = model.get_layer("counted")
        counted.symbolic = counted.real = 0
        with _keras.outputs_known(model):
            spec = compute_output_spec(model, keras.KerasTensor((5, 3)))
            assert counted.symbolic == 0
            found = model(np.ones((4, 3), "float32"))
            assert counted.real == 1
        plain = compute_output_spec(model, keras.KerasTensor((5, 3)))
        assert counted.symbolic > 0
        assert "call" not in vars(model)
        keras.tree.assert_same_structure(spec, plain)
        told, held, real = (
            [(tuple(one.shape), keras.backend.standardize_dtype(one.dtype)) for one in keras.tree.flatten(of)]
            for of in (spec, plain, found)
        )
        assert told == held
        assert [((5, *shape[1:]), dtype) for shape, dtype in real] == told


def test_outputs_of_own_calls_and_of_open_lengths_are_asked_for() -> None:
    class Own(keras.Sequential):  # type: ignore[misc]
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return super().call(inputs, training=training, mask=mask)

    open_length = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    for model in (Own([keras.Input((3,)), keras.layers.Dense(2)]), open_length, small_models.subclassed()):
        with _keras.outputs_known(model):
            assert "call" not in vars(model)


# Saving -------------------------------------------------------------------------------------------


def test_variables_are_excluded_from_decay_after_the_build() -> None:
    first, second = variable("first"), variable("second")
    optimizer = built_adam(first, second)
    _keras.exclude_from_decay(optimizer, [])
    _keras.exclude_from_decay(optimizer, [second])
    assert [_keras.decay_of(optimizer, one) for one in (first, second)] == [0.5, 0.0]


def test_safe_mode_refuses_python_code() -> None:
    with pytest.warns(UserWarning, match="lambda"):
        function = keras.saving.serialize_keras_object(lambda x: x)
    with _keras.safe_mode(True), pytest.raises(ValueError, match="safe"):
        keras.saving.deserialize_keras_object(function)
    with _keras.safe_mode(False):
        assert keras.saving.deserialize_keras_object(function)(3) == 3


def test_a_model_is_saved_uncompiled_and_stays_compiled(tmp_path: Path) -> None:
    model = compiled(small_models.two_dense(), keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    fit(model)
    with _keras.saved_compiled_as(model, {}):
        model.save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").compiled
    with _keras.saved_compiled_as(model, {**model.get_compile_config(), "loss": "mae"}):
        model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.loss, int(loaded.optimizer.iterations)) == ("mae", 2)
    held = [vars(one) for one in (model, model.optimizer, model.optimizer.inner_optimizer)]
    assert all({"get_compile_config", "save_own_variables"}.isdisjoint(one) for one in held)
    assert model.get_compile_config()["loss"] == "mse"


class Scaled(keras.layers.Layer):
    """Not registered with Keras."""

    def call(self, inputs: Any) -> Any:
        return 2 * inputs


def test_a_configuration_makes_the_model_again_without_compile() -> None:
    dense = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    doubled = keras.layers.Lambda(lambda x: x + 1, name="plus")(Scaled(name="scaled")(dense(dense(inputs))))
    model = compiled(keras.Model(inputs, doubled, name="net"))
    config = _keras.config_of(model)
    assert "compile_config" not in str(config)
    made = _keras.made_of_config(config, {"Scaled": Scaled})
    assert not made.compiled
    assert names(_keras.sublayers(made)) == names(_keras.sublayers(model))
    made.set_weights(model.get_weights())
    x = np.ones((2, 4), "float32")
    assert np.array_equal(made.predict(x, verbose=0), model.predict(x, verbose=0))
