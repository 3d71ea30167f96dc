"""A dense layer whose kernel trains while its bias is held at a value: detectors that start out unsure.

A bias of -4 in front of a sigmoid says that hits are rare. Training may not talk the model out of that.
"""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(512, 6)).astype("float32")
y = (x[:, :2] > 1).astype("float32")  # two detectors, one hit in six

model = keras.Sequential(
    [
        keras.Input((6,)),
        keras.layers.Dense(16, activation="relu", name="features"),
        fl.layers.FixedBiasDense(2, bias=[-4.0, -4.0], activation="sigmoid", name="detectors"),
    ],
    name="net",
)
model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "binary_crossentropy")

# A plan that trains everything leaves the bias alone: the layer made it as a constant.
plan = fl.Plan().train("**")
print(plan.resolve(model))
before = fl.fingerprint(model)
history = model.fit(x, y, epochs=10, verbose=0).history["loss"]
print(f"loss: {history[0]:.3f} -> {history[-1]:.3f}")
assert history[-1] < history[0] / 2

verification = fl.verify(model, before, plan)
verification.require_ok()
print("trained:", ", ".join(verification.of("trained")))
print("held:   ", ", ".join(verification.of("held")))
assert verification.of("held") == ("detectors/bias",)
assert keras.ops.convert_to_numpy(model.get_layer("detectors").bias).tolist() == [-4.0, -4.0]
