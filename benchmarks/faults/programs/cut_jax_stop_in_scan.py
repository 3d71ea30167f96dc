"""JAX: truncated backpropagation stops the state at every step of a scan, not at every tenth."""

import jax
import jax.numpy as jnp

FAULT = {
    "kind": "cut",
    "backends": ["jax"],
    "statuses": {"u": "cut"},
    "reason": ["stop_gradient"],
    "symptom": {"still": ["u"]},
    "source": "own",
}
XS = jnp.linspace(-1, 1, 12).reshape(6, 2)


def program():
    def loss(params):
        def step(state, x):
            new = jnp.tanh(state * params["u"] + x)
            return jax.lax.stop_gradient(new), jax.lax.stop_gradient(new)  # <- here
            # mended: return new, new

        _, states = jax.lax.scan(step, jnp.zeros(2), XS)
        return jnp.mean((states @ params["head"] - 1) ** 2)

    return loss, {"u": jnp.full(2, 0.5), "head": jnp.ones(2)}
