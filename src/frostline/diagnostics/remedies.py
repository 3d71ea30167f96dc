"""What stops a gradient, and what to do about it: a sentence for each reason, better ones for some."""

from __future__ import annotations

from frostline.graph.ir import Reason
from frostline.graph.not_finite import NotFinite
from frostline.graph.zero_gradient import Zeroing

_FACTS: dict[Reason, str] = {
    "stop_gradient": "{operation} lets no gradient through",
    "not_differentiable": "{operation} has a derivative of zero wherever it has one",
    "integer": "{operation} gives integers or booleans, which no gradient passes through",
    "detached": "{operation} takes the value out of the record that gradients go back through",
    "left_framework": "{operation} takes the value out of the framework, as a NumPy array or a Python number",
    "unregistered": "the framework has no gradient for {operation}, and raises an error when asked for one",
    "no_grad": "{operation} runs where the recording of gradients is switched off",
    "zero_gradient": "the custom gradient of {operation} returns zeros or nothing, whatever it is given",
}

_STRAIGHT_THROUGH = (
    "let the gradient pass as if {operation} were not there (straight-through estimator): "
    "x + stop_gradient({operation}(x) - x)"
)
_SOFT_CHOICE = (
    "choose softly: weights of softmax(x / temperature) in place of the index; or keep the hard choice and "
    "the soft gradient: soft + stop_gradient(hard - soft)"
)
_SOFT_STEP = (
    "use a smooth step, sigmoid(sharpness * (a - b)), and mix with it: step * x + (1 - step) * y. In "
    "where(condition, x, y) gradients reach x and y, never the condition"
)
_KEEP_FLOATS = (
    "keep the numbers floating; if they must be whole, round them straight through: "
    "x + stop_gradient(round(x) - x)"
)
_KEEP_VALUES = (
    "use the sorted values, which have a gradient, not the positions; or weigh all entries by a softmax"
)

_COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
_REMEDIES: dict[tuple[Reason, str], str] = {
    ("integer", "argmax"): _SOFT_CHOICE,
    ("integer", "argmin"): _SOFT_CHOICE,
    ("integer", "cast"): _KEEP_FLOATS,
    ("integer", "top_k"): _KEEP_VALUES,
    ("integer", "argsort"): _KEEP_VALUES,
    ("unregistered", "while_loop"): (
        "give the loop a fixed number of rounds (keras.ops.scan, or fori_loop with constant bounds): JAX "
        "differentiates while_loop forwards only"
    ),
    **{("integer", name): _SOFT_STEP for name in _COMPARISONS},
}

_GENERAL: dict[Reason, str] = {
    "stop_gradient": "take the stop_gradient away, or leave this weight out of what is to train",
    "not_differentiable": _STRAIGHT_THROUGH,
    "integer": (
        "keep this part of the computation floating (a soft form, or a straight-through estimator), or feed "
        "the integers in as data; ids go to an Embedding, whose table trains"
    ),
    "detached": "take the call away; copy a tensor that is to stay on the record with clone()",
    "left_framework": (
        "compute it with keras.ops or the backend's own operations; what must run outside needs a gradient "
        "of its own (custom gradient)"
    ),
    "unregistered": "use operations that have a gradient, or give this one its own (custom gradient)",
    "no_grad": "move the computation out of the block that switches recording off",
    "zero_gradient": (
        "correct the custom gradient: it must return the incoming gradient times the derivative, for each "
        "input"
    ),
}

NEVER_READ = (
    "nothing reads it while the loss is computed: use it in call, or take it out; if a layer holds it, check "
    "that this layer is called"
)
NOT_IN_LOSS = "what is computed from it does not enter the loss: add that output to the loss, or take it out"
CONSTANT_LOSS = (
    "compute the loss inside the function, from the variables on: the forward pass, too, must run inside it "
    "(inside the tape), not before"
)
ZERO = (
    "the gradient is exactly zero on these data: look for units that are off for every sample (a ReLU with "
    "negative input, a saturated sigmoid), for a mask or a weight of zero, and try another batch"
)
NOT_TAKEN = (
    "look at a batch that takes the branch; where none does, let its condition depend on the data, or take "
    "the branch out"
)
WHOLE_NUMBERS = (
    "make it with trainable=False, or leave it out of the plan; if it is to train, make it with a floating "
    "dtype"
)
FROZEN = "set trainable = True on it (requires_grad_(True) on a PyTorch tensor) if it is to train"
UNTRACKED = (
    "make it with self.add_weight in build; make layers in __init__, and keep them as attributes, or in "
    "lists and dicts that are attributes; keep a constant as a NumPy array"
)


_ROOT = (
    "the slope of a root at zero is infinite: add a small number under it, as in sqrt(x + 1e-12); with "
    "where(), choose before the root, since its gradient is computed for the elements left out, too"
)
_LOGARITHM = (
    "keep what goes into {operation} above zero, as in log(maximum(x, 1e-7)); of a softmax or sigmoid take "
    "log_softmax or log_sigmoid, or a loss with from_logits=True; with where(), choose before the logarithm"
)


def of_zero(found: Zeroing) -> str:
    """Return what to do about a gradient that an operation takes away."""
    if found.lost_below and found.dtype == "float16":
        return _UNDERFLOW
    if found.lost_below:
        return _VANISHING
    if found.adds_up or found.cancels:
        return _ADDS_UP
    if found.factor:
        return _FACTOR[found.factor].format(name=found.zeros_from)
    if found.zeros_from:
        return f"mend what makes nothing but zeros, {found.zeros_from}, or try another batch"
    return ZERO


_FACTOR = {
    "weight": "put other numbers into {name}: by another initializer, or from where it was trained",
    "data": "try a batch in which {name} is not zero throughout",
    "compile": "give that loss a weight other than zero, or leave these weights out of what is to train",
}
_UNDERFLOW = (
    "scale the loss, keras.optimizers.LossScaleOptimizer(optimizer), with a larger initial_scale where there "
    "is one; or compute in bfloat16 or float32"
)
_VANISHING = (
    "it vanishes on its way back: use an initializer that suits the activation (fl.recommended_initializer), "
    "normalization layers, residual connections, or a loss that is not so small"
)
_ADDS_UP = "it cancels on these data: try another batch, and weights that do not begin alike"

_DIVISION = "keep the divisor away from zero, as in x / (y + 1e-7); with where(), choose before dividing"
_LARGE = (
    "keep what goes into {operation} small: subtract the largest first, as softmax and logsumexp do, scale "
    "it, or clip it"
)
_RANGE = "the numbers do not fit the dtype: compute this part in float32 or bfloat16, or scale it down before"
_MASKED = (
    "leave a place open in each row: where all of one is -inf nothing is left to share out; a large finite "
    "number, such as -1e9, masks as well"
)
_NOT_FINITE: dict[str, str] = {
    **dict.fromkeys(("log", "log2", "log10", "log1p"), _LOGARITHM),
    **dict.fromkeys(("sqrt", "rsqrt", "norm", "power", "linalg_vector_norm"), _ROOT),
    **dict.fromkeys(("divide", "reciprocal"), _DIVISION),
    **dict.fromkeys(("exp", "expm1", "exp2", "cosh", "sinh"), _LARGE),
    **dict.fromkeys(("softmax", "log_softmax"), _MASKED),
    "cast": _RANGE,
}
_ELSE_NOT_FINITE = (
    "look at what goes into {operation} there, and keep it where {operation} and its slope are finite: clip "
    "it, scale it, or add a small number"
)
_NOT_FINITE_DATA = (
    "leave such samples out, or fill the gaps in, before training: one of them spoils every weight"
)
_NOT_FINITE_WEIGHT = "begin again from weights that are finite: no step mends one that is not"
_UNSEEN_NOT_FINITE = (
    "ask fl.explain with a smaller part of the computation as the loss, until the place shows"
)


def of_not_finite(found: NotFinite) -> str:
    """Say what to do where numbers stop being finite."""
    if found.unseen:
        return _UNSEEN_NOT_FINITE
    if found.source:
        return _NOT_FINITE_DATA if found.is_data else _NOT_FINITE_WEIGHT
    return _NOT_FINITE.get(found.operation, _ELSE_NOT_FINITE).format(operation=found.operation)


def fact(reason: Reason, operation: str) -> str:
    """Say in half a sentence why no gradient passes an operation."""
    return _FACTS[reason].format(operation=operation)


def remedy(reason: Reason, operation: str) -> str:
    """Say what to do about it."""
    return _REMEDIES.get((reason, operation), _GENERAL[reason]).format(operation=operation)


_STANDING = {
    "frozen": FROZEN,
    "assigned": "to keep it fixed, freeze it in a later rule, and take the assignment out of the code",
    "leaks": "let its layer run in inference mode: fl.fit does so for layers whose weights are all frozen; "
    "where code of your own is meant to write it, say so: plan.assigned(...)",
    "untracked": UNTRACKED,
    "stale": "compile the model again with a new optimizer, or train it with fl.fit, which renews both",
}


def status_remedy(status: str) -> str:
    """Say what to do about a weight of which the gradient graph alone does not decide."""
    return _STANDING.get(status, "")
