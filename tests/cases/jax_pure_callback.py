"""A callback to Python has no derivative."""

import jax
import jax.numpy as jnp

BACKENDS = ("jax",)
EXPECT = {"w": ("cut", "left_framework"), "v": "trains"}
RAISES = True


def case():
    def loss(params):
        out = jax.ShapeDtypeStruct((3,), jnp.float32)
        outside = jax.pure_callback(lambda x: x * 2, out, params["w"])  # cut
        return jnp.sum(outside * params["v"])

    return loss, {"w": jnp.ones(3), "v": jnp.ones(3)}
