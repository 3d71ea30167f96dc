"""A `custom_vjp` whose backward function returns nothing for one of two inputs."""

import jax
import jax.numpy as jnp

BACKENDS = ("jax",)
EXPECT = {"w": ("cut", "zero_gradient"), "v": "trains"}


@jax.custom_vjp
def product(a, b):
    return a * b


product.defvjp(lambda a, b: (a * b, a), lambda a, g: (None, a * g))


def case():
    def loss(params):
        return jnp.sum(product(params["w"], params["v"]))  # cut

    return loss, {"w": jnp.ones(3), "v": jnp.ones(3)}
