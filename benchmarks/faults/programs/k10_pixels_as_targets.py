"""An autoencoder with a sigmoid output is asked for pixels up to 255."""

import keras
import numpy as np
from keras import layers

FAULT = {
    "kind": "K10",
    "says": "target|range|sigmoid",
    "symptom": {"targets out of reach": []},
    "layer": "out",
    "source": "own",
}
X = np.random.default_rng(0).uniform(size=(16, 8, 8, 1)).astype("float32")
Y = 255 * X
# mended: Y = X


def program():
    parts = [layers.Conv2D(4, 3, padding="same", activation="tanh", name="code")]
    out = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="out")
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, out])
    model.compile("adam", "mse")
    return model, X, Y
