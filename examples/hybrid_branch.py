"""A hybrid layer: a live branch, and beside it functions of it that no gradient passes.

What follows sees the live branch, its square and its sign, and learns from all three. What made the branch
learns through the branch itself alone, and so is not pulled about by the jumps of the sign.
"""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(512, 4)).astype("float32")
hidden = x @ rng.normal(size=(4, 3))
y = (hidden + np.square(hidden)).sum(-1, keepdims=True).astype("float32")


def network():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,))
    branch = keras.layers.Dense(3, name="branch")(inputs)
    wide = fl.layers.Hybrid(["square", "sign"], name="hybrid")(branch)
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="head")(wide), name="net")
    model.compile(keras.optimizers.Adam(0.02), "mse")
    return model


# The live part of the head alone decides what the branch learns: with it at zero, nothing reaches the branch.
model = network()
kernel = keras.ops.convert_to_numpy(model.get_layer("head").kernel).copy()
kernel[:3] = 0
model.get_layer("head").kernel.assign(kernel)
before = fl.fingerprint(model)
model.train_on_batch(x, y)
stopped = fl.verify(model, before, fl.Plan().train("head/**"))  # as if the branch were frozen
stopped.require_ok()
print("one step, live part at zero, intact:", ", ".join(stopped.of("intact")))
assert stopped.of("intact") == ("branch/kernel", "branch/bias")

model = network()
run = fl.fit(model, fl.Plan().train("**"), x, y, epochs=20, verbose=0)
run.verification.require_ok()
losses = run.history.history["loss"]
print(f"trained: {', '.join(run.verification.of('trained'))}; error {losses[0]:.1f} -> {losses[-1]:.1f}")
assert run.verification.of("trained") == ("branch/kernel", "branch/bias", "head/kernel")
assert losses[-1] < losses[0] / 2
