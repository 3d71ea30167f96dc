"""A function of a pytree, without Keras: `lax.stop_gradient`, and `round` under `jit`."""

import jax
import jax.numpy as jnp

BACKENDS = ("jax",)
EXPECT = {
    "first/w": ("cut", "not_differentiable"),
    "second/w": ("cut", "stop_gradient"),
    "head/0": "trains",
    "head/1": "unused",
}
X = jnp.ones((2, 3))


@jax.jit
def rounded(x):
    return jnp.round(x)  # cut first/w


def case():
    tree = {
        "first": {"w": jnp.ones((3, 3))},
        "second": {"w": jnp.ones((3, 3))},
        "head": (jnp.ones((3,)), jnp.ones((3,))),
        "name": "of no interest",
    }

    def loss(params):
        hidden = rounded(X @ params["first"]["w"])
        hidden = hidden + jax.lax.stop_gradient(X @ params["second"]["w"])  # cut second/w
        return jnp.mean(hidden @ params["head"][0])

    return loss, tree
