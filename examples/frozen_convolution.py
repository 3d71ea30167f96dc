"""A frozen convolution whose features feed a trained head: edges are given, what they mean is learned."""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

# Pictures of one bar, upright or lying, and noise.
pictures = rng.normal(0, 0.3, (256, 12, 12, 1)).astype("float32")
upright = rng.integers(0, 2, 256).astype("float32")
for picture, stands, at in zip(pictures, upright, rng.integers(2, 10, 256), strict=True):
    picture[:, at] += stands
    picture[at, :] += 1 - stands

sobel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], "float32") / 4
edges = keras.layers.Conv2D(2, 3, use_bias=False, activation="relu", name="edges")
model = keras.Sequential(
    [
        keras.Input((12, 12, 1)),
        edges,
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.GlobalAveragePooling2D(name="pool"),
        keras.layers.Dense(1, activation="sigmoid", name="head"),
    ],
    name="net",
)
edges.kernel.assign(np.stack([sobel, sobel.T], -1)[:, :, None, :])
model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "binary_crossentropy", metrics=["accuracy"])

# The normalization belongs to the frozen part: its moving statistics are held with it.
plan = fl.Plan().train("head/**")
run = fl.fit(model, plan, pictures, upright, epochs=15, verbose=0)
run.verification.require_ok()
accuracy = run.history.history["accuracy"][-1]
print("intact: ", ", ".join(run.verification.of("intact")))
print("held:   ", ", ".join(run.verification.of("held")))
print("trained:", ", ".join(run.verification.of("trained")))
print(f"accuracy: {accuracy:.2f}")
assert run.verification.of("intact") == ("edges/kernel", "norm/gamma", "norm/beta")
assert run.verification.of("trained") == ("head/kernel", "head/bias")
assert accuracy > 0.95
