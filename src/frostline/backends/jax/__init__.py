"""What Frostline asks of JAX.

- `reader`: traces a loss to a jaxpr, and computes its gradients.
- `jaxpr`: goes through a jaxpr and adds its values to the neutral graph.
- `tangents`: asks JAX which inputs of one equation a gradient comes back to.
- `train_step`: runs a training step written by hand up to its gradients.
- `gradient_check`: computes in float64, and draws the same random numbers again.
- `custom_loop`: drops steps that `jax.jit` compiled under an earlier plan.
- `machines`: finds models on several JAX processes.
- `internals`: what a jaxpr holds that JAX does not promise to keep.
"""
