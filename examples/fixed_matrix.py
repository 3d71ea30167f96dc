"""A trained linear map, then a fixed matrix, then an activation: curves that are mixtures of a given basis.

The model learns how much of each bump a curve has. The bumps themselves are given, and do not move.
"""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
places = np.linspace(0, 1, 40)
bumps = np.exp(-np.square((places - np.linspace(0, 1, 5)[:, None]) / 0.15)).astype("float32")  # 5 x 40

x = rng.normal(size=(512, 3)).astype("float32")
curves = np.tanh(x @ rng.normal(size=(3, 5)) @ bumps).astype("float32")

model = keras.Sequential(
    [keras.Input((3,)), fl.layers.FixedTransform(bumps, activation="tanh", name="curves")], name="net"
)
model.compile(keras.optimizers.AdamW(0.05, weight_decay=1e-4), "mse")

plan = fl.Plan().train("**")
before = fl.fingerprint(model)
history = model.fit(x, curves, epochs=15, verbose=0).history["loss"]
print(f"error: {history[0]:.4f} -> {history[-1]:.4f}")
assert history[-1] < history[0] / 20

verification = fl.verify(model, before, plan)
verification.require_ok()
print("trained:", ", ".join(verification.of("trained")))
print("held:   ", ", ".join(verification.of("held")))
assert verification.of("trained") == ("curves/kernel", "curves/bias")
assert keras.ops.convert_to_numpy(model.get_layer("curves").matrix).tobytes() == bumps.tobytes()
