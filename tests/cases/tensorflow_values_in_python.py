"""`float()` and a NumPy function ask for a value; `if` and f-strings do too, and nothing comes of it."""

import numpy as np
import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {
    "asked": ("cut", "left_framework"),
    "averaged": ("cut", "left_framework"),
    "printed": "trains",
    "branched": "trains",
    "scale": "trains",
}


def case():
    names = ("asked", "averaged", "printed", "branched", "scale")
    asked, averaged, printed, branched, scale = variables = [tf.Variable(2.0, name=name) for name in names]

    def loss():
        total = float(asked) * scale  # cut asked
        total += tf.convert_to_tensor(np.mean(averaged)) * scale  # cut averaged
        text = f"{printed * 1.0:.3f}"
        for part in printed * tf.ones(3):
            total += part * len(text)
        return total + branched if branched > 1.0 else total

    return loss, variables
