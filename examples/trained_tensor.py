"""A trained tensor made in `build`: alone, with a bias, with an activation and a suitable initializer."""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)
x = rng.normal(size=(512, 4)).astype("float32")
y = np.maximum(x @ rng.normal(size=(4, 3)), 0).astype("float32")


class Map(keras.layers.Layer):
    """Multiplies by a tensor that it makes in `build`, where the size of the input is known."""

    def __init__(self, units, use_bias=False, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        # `add_weight`, not a raw variable of the backend: that would be neither trained nor saved.
        suitable = fl.recommended_initializer(self.activation)
        self.tensor = self.add_weight(
            shape=(input_shape[-1], self.units), initializer=suitable.make(), name="tensor"
        )
        self.bias = (
            self.add_weight(shape=(self.units,), initializer="zeros", name="bias") if self.use_bias else 0.0
        )

    def call(self, inputs):
        return self.activation(keras.ops.matmul(inputs, self.tensor) + self.bias)


print(fl.recommended_initializer("relu"))
layers = {
    "alone": Map(3, name="map"),
    "with a bias": Map(3, use_bias=True, name="map"),
    "with an activation": Map(3, use_bias=True, activation="relu", name="map"),
}
errors = {}
for name, layer in layers.items():
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    run = fl.fit(model, fl.Plan().train("**"), x, y, epochs=10, verbose=0)
    run.verification.require_ok()
    errors[name] = run.history.history["loss"][-1]
    print(f"{name}: error {errors[name]:.3f}, trained {', '.join(run.verification.of('trained'))}")
    assert run.verification.of("unmoved") == ()
assert errors["alone"] > errors["with a bias"] > errors["with an activation"]
