"""JAX: positions are cast to integers to index a table."""

import jax.numpy as jnp

FAULT = {
    "kind": "cut",
    "backends": ["jax"],
    "statuses": {"position": "cut"},
    "reason": ["integer"],
    "symptom": {"still": ["position"]},
    "source": "own",
}
X = jnp.linspace(0, 3, 8)


def program():
    def loss(params):
        where = X * params["position"]
        low = where.astype("int32")  # <- here
        # mended: low = jnp.floor(where).astype("int32")
        value = params["table"][low]
        # mended: part = where - low
        # mended: value = (1 - part) * params["table"][low] + part * params["table"][low + 1]
        return jnp.mean((value - 1) ** 2)

    return loss, {"position": jnp.array(1.1), "table": jnp.arange(6.0)}
