"""`jax.pure_callback` computes a feature by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

FAULT = {
    "kind": "left framework",
    "backends": ["jax"],
    "statuses": {"w": "cut"},
    "symptom": {"raises|still": ["w"]},
    "source": "own",
}
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


def program():
    def loss(params):
        z = X @ params["w"]
        shape = jax.ShapeDtypeStruct(z.shape, z.dtype)
        z = jax.pure_callback(lambda a: np.sort(np.asarray(a)), shape, z)  # <- here
        # mended: z = jnp.sort(z)
        return jnp.mean((z * params["v"]) ** 2)

    return loss, {"w": jnp.ones(3), "v": jnp.ones(())}
