"""`optimizer_for`: a Keras optimizer that obeys a plan in a training loop of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from frostline._keras.methods import replace_method
from frostline._keras.optimizers import optimizer_chain, variable_key
from frostline._keras.trainers import own_buffers
from frostline.backends import dispatch
from frostline.backends.machines import require_one_machine
from frostline.errors import OptimizerError, PlanError, listed
from frostline.model.attached import Key
from frostline.optimizers.memory import find_optimizer
from frostline.optimizers.rebuild import WHEN_CHANGED
from frostline.optimizers.state import forget_parked, steps_made, targets_of
from frostline.plan.plan import Plan
from frostline.plan.schedule import Schedule
from frostline.render.tables import count
from frostline.resolution.resolution import Resolution
from frostline.resolution.resolve import resolve
from frostline.trainability.apply import apply
from frostline.trainability.optimizer_targets import bring_under


def optimizer_for(
    model: Any, plan: Plan | Resolution, optimizer: Any = "rmsprop", *, keep_state: bool = True
) -> Any:
    """Return an optimizer that obeys a plan in a training loop of your own; the model need not be compiled.

    Puts the plan on the model, as `apply` does, and brings the optimizer under it: slots for trained weights
    only, learning rate and weight decay multiplied by group. Call it again with the same optimizer to go on
    under another plan: slots follow the weights by address, a weight that joins late counts its own steps,
    one that leaves stops dead. Read `model.trainable_variables` anew after each call.

    The loop then does what it does without Frostline:

    - TensorFlow: `optimizer.apply(tape.gradient(loss, weights), weights)`. A `tf.function` traced under an
      earlier plan stops with an error; make it anew.
    - JAX: `optimizer.stateless_apply(optimizer_variables, grads, trainable_variables)`, under `jax.jit` too.
      Compiled functions are dropped where the plan changes. Assign the values that the loop holds to the
      variables before you change the plan, and before you look at them.
    - PyTorch: `loss.backward()`, then `optimizer.apply([w.value.grad for w in weights], weights)`.

    Under `mixed_float16` give a `LossScaleOptimizer` and differentiate `optimizer.scale_loss(loss)`; in a
    jitted step of JAX inside a `keras.StatelessScope` that maps the optimizer's variables, else the scale of
    the first step is compiled in.

    Args:
        model: A built Keras model or layer.
        plan: A plan that trains something, or its resolution for this model.
        optimizer: A `keras.optimizers.Optimizer`, which stays yours and is changed in place, or its name or
            configuration, as `compile` takes it.
        keep_state: Whether slots of weights that stop training are kept for when they train again.

    Returns:
        The optimizer, built. It refuses gradients of frozen weights, of other models, and of wrong shapes.

    Raises:
        PlanError: The plan trains nothing, or is a schedule.
        UnbuiltModelError: The model has no weights yet.
        UnmatchedRuleError: A rule picks nothing and is not optional.
        OptimizerError: The optimizer is not one of Keras's, was built for weights that this model does not
            have (another model, a head that was replaced), or its state was not written back after a jitted
            loop. The model is as before.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="head")])
        >>> optimizer = optimizer_for(model, Plan().train("head/kernel", lr=0.5), "sgd")
        >>> before = model.layers[0].kernel.numpy()
        >>> optimizer.apply([keras.ops.ones((3, 2))], model.trainable_variables)
        >>> bool(np.allclose(model.layers[0].kernel.numpy(), before - 0.5 * 0.01))
        True
    """
    if isinstance(plan, Schedule):
        raise PlanError(
            "optimizer_for takes a Plan, not a Schedule: your own loop decides where a phase ends",
            received=f"a Schedule of {count(len(plan.phases), 'phase')}",
            expected="a Plan",
            remedy="call optimizer_for(model, schedule.plan_of(phase), optimizer) where each phase begins",
        )
    require_one_machine(model, "apply")
    optimizer = _found(optimizer)
    resolution = plan if isinstance(plan, Resolution) else resolve(model, plan)
    if not resolution.trained:
        raise PlanError(
            f"the plan trains nothing in the model {model.name!r}",
            received=str(resolution.plan).replace("\n", "; "),
            remedy="add a rule that trains: .train('last:1') trains the last layer",
        )
    loop = _Loop.of(optimizer) or _Loop(optimizer)
    loop.require_written_back()
    done = apply(model, resolution, keep_state=keep_state)
    try:
        bring_under(optimizer, model, resolution)
    except BaseException:
        done.undo()
        raise
    if not keep_state:
        forget_parked(optimizer)
    own_buffers(model, optimizer)
    loop.begin(resolution)
    return optimizer


def _found(optimizer: Any) -> Any:
    """Return the Keras optimizer that is meant, or say what to do with one of another library."""
    if isinstance(optimizer, keras.optimizers.Optimizer | str | dict):
        return find_optimizer(optimizer)
    kind = type(optimizer)
    origin = next((c.__module__.split(".")[0] for c in kind.__mro__ if c.__module__ != "builtins"), "")
    expected = "a keras.optimizers.Optimizer, or its name or configuration"
    if origin == "torch":
        raise OptimizerError(
            f"{kind.__name__} is a PyTorch optimizer, whose state and groups a plan cannot change",
            received=f"an object of type {kind.__module__}.{kind.__name__}",
            expected=expected,
            remedy=f"give keras.optimizers.{kind.__name__}(...), or keep yours without the plan's "
            "multipliers: after frostline.apply(model, plan) make it again from [w.value for w in "
            "model.trainable_weights]",
        )
    raise OptimizerError(
        "this is not a Keras optimizer",
        received=f"an object of type {kind.__module__}.{kind.__name__}",
        expected=expected,
        remedy="optax: frostline.apply(model, plan), then optimizer.init([w.value for w in "
        "model.trainable_weights]), without the plan's multipliers"
        if origin == "optax"
        else "write 'adam', or keras.optimizers.Adam(1e-3)",
    )


class _Loop:
    """What stands between a user's loop and an optimizer: checks of what it is given, and of its age."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._key = variable_key(optimizer_chain(optimizer)[-1])
        self._addresses: dict[Any, str] = {}
        self._model = ""
        self._stateless = False
        self._steps = 0
        self._compiled = dispatch.custom_loop().compiled_steps()

    @staticmethod
    def of(optimizer: Any) -> _Loop | None:
        """Return the loop that an optimizer is already in."""
        return _LOOP.get(optimizer_chain(optimizer)[-1])

    def begin(self, resolution: Resolution) -> None:
        """Begin with a plan that the optimizer has just been brought under."""
        self._model = resolution.inventory.model_name
        self._addresses = {
            self._key(variable): w.address
            for w in resolution.inventory.of_role("weight", "statistic")
            for _, variable in w.targets
        }
        self._stateless, self._steps = False, steps_made(self._optimizer)
        if self.of(self._optimizer) is not self:
            self._hook_up()
            inner = optimizer_chain(self._optimizer)[-1]
            _LOOP.attach(inner, self)
            WHEN_CHANGED.attach(inner, self._compiled.plan_changed)

    def _hook_up(self) -> None:
        replace_method(self._optimizer, "apply", self._apply)
        if self._compiled.stateless:
            replace_method(self._optimizer, "stateless_apply", self._stateless_apply)
        if steps_made(self._optimizer):
            self._compiled.plan_changed()

    def require_written_back(self) -> None:
        """Refuse to go on from a state that a jitted loop left behind: its slots and steps would be lost."""
        if self._stateless and steps_made(self._optimizer) == self._steps:
            raise OptimizerError(
                "the optimizer's variables still hold the values from before stateless_apply ran",
                received=f"{self._optimizer.name} at step {self._steps}, the step at which its plan began",
                expected="variables that hold the values computed by your loop",
                remedy="before the plan changes, assign them: for v, value in zip(optimizer.variables, "
                "optimizer_variables): v.assign(value); do the same for the model's variables",
            )

    def _apply(self, original: Callable[..., Any]) -> Callable[..., None]:
        def apply(grads: Any, trainable_variables: Any = None) -> None:
            if targets_of(self._optimizer) is None:  # its plan was undone
                original(grads, trainable_variables)
                return
            grads = list(grads)
            if trainable_variables is None:
                self._require_pairs(grads, self._trained())
            else:
                trainable_variables = list(trainable_variables)
                self._require_pairs(grads, trainable_variables)
                grads, trainable_variables = self._trained_of(grads, trainable_variables)
            self._compiled.run(lambda: original(grads, trainable_variables))

        return apply

    def _trained(self) -> list[Any]:
        return [target.variable for target in targets_of(self._optimizer) or ()]

    def _trained_of(self, grads: list[Any], variables: list[Any]) -> tuple[list[Any], list[Any]]:
        """Leave out frozen weights without a gradient, and refuse those with one."""
        trained = {self._key(variable) for variable in self._trained()}
        pairs = list(zip(grads, variables, strict=True))
        kept = [(g, v) for g, v in pairs if self._key(v) in trained]
        refused = [v for g, v in pairs if self._key(v) not in trained and g is not None]
        if refused or (pairs and not kept):
            raise self._refusal(refused or variables)
        return [g for g, _ in kept], [v for _, v in kept]

    def _refusal(self, variables: Sequence[Any]) -> OptimizerError:
        known = [self._addresses.get(self._key(variable)) for variable in variables]
        frozen = [address for address in known if address is not None]
        if frozen:
            return OptimizerError(
                f"the optimizer was given gradients of weights that its plan for the model {self._model!r} "
                "freezes",
                received=listed(frozen),
                expected=f"only {listed(t.address for t in targets_of(self._optimizer) or ())}",
                remedy="give optimizer.apply(grads, model.trainable_variables), read again after every "
                "change of the plan; to train others, call optimizer_for again",
            )
        return OptimizerError(
            "the optimizer was given gradients of something that is not a weight of the model "
            f"{self._model!r}",
            received=listed(str(getattr(v, "path", None) or getattr(v, "name", v)) for v in variables),
            remedy="give model.trainable_variables, which are variables of Keras; another model needs an "
            "optimizer_for of its own",
        )

    def _require_pairs(self, grads: list[Any], variables: Sequence[Any]) -> None:
        if len(grads) != len(variables):
            raise OptimizerError(
                "each gradient needs its variable",
                received=f"{count(len(grads), 'gradient')} for {count(len(variables), 'variable')}",
                remedy="take the gradients of model.trainable_variables, in that order",
            )
        for gradient, variable in zip(grads, variables, strict=True):
            shape = _shape(gradient)
            if shape is not None and shape != tuple(variable.shape):
                name = self._addresses.get(self._key(variable), "a variable")
                raise OptimizerError(
                    f"a gradient given for {name} has another shape",
                    received=f"{shape}",
                    expected=f"{tuple(variable.shape)}",
                    remedy="take the gradients of model.trainable_variables, in that order",
                )

    def _stateless_apply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            self._check_stateless(optimizer_variables, grads, trainable_variables)
            return original(optimizer_variables, grads, trainable_variables)

        return stateless_apply

    def _check_stateless(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> None:
        if targets_of(self._optimizer) is None:
            return
        expected = len(self._optimizer.variables)
        if len(optimizer_variables) != expected:
            raise OptimizerError(
                "the values of the optimizer's variables do not fit its plan",
                received=f"{len(optimizer_variables)} values for {count(expected, 'variable')}",
                remedy="begin with [v.value for v in optimizer.variables], read after optimizer_for",
            )
        trained = self._trained()
        if len(trainable_variables) != len(trained):
            raise OptimizerError(
                f"the values of weights do not fit the plan for the model {self._model!r}",
                received=f"{len(trainable_variables)} values for {count(len(trained), 'trained weight')}",
                remedy="begin with [v.value for v in model.trainable_variables], read after optimizer_for",
            )
        self._require_pairs(list(grads), trained)
        self._stateless = True


_LOOP: Key[_Loop] = Key("loop")


def _shape(gradient: Any) -> tuple[int, ...] | None:
    """Return the shape of a gradient where it is known while a graph is traced."""
    try:
        shape = tuple(gradient.shape)
    except (AttributeError, ValueError, TypeError):
        return None
    return None if any(size is None for size in shape) else shape
