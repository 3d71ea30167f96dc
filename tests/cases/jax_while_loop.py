"""JAX differentiates `while_loop` forwards only."""

import jax
import jax.numpy as jnp

BACKENDS = ("jax",)
EXPECT = {"w": ("cut", "unregistered"), "v": "trains"}
RAISES = True


def case():
    def loss(params):
        def body(state):
            return state[0] + 1, state[1] * params["w"]

        _, hidden = jax.lax.while_loop(lambda state: state[0] < 3, body, (0, jnp.ones(3)))  # cut
        return jnp.sum(hidden * params["v"])

    return loss, {"w": jnp.ones(3), "v": jnp.ones(3)}
