"""Rematerialised and conditional parts are entered."""

import jax
import jax.numpy as jnp

BACKENDS = ("jax",)
EXPECT = {"w": ("cut", "not_differentiable"), "v": "trains"}


def case():
    def loss(params):
        @jax.checkpoint
        def block(x):
            return jnp.floor(x * params["w"])  # cut

        def left(x):
            return x * params["v"]

        return jnp.sum(jax.lax.cond(params["v"][0] > 0, left, lambda x: x, block(jnp.ones(3))))

    return loss, {"w": jnp.ones(3), "v": jnp.ones(3)}
