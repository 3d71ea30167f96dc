"""What Frostline asks of PyTorch.

- `reader`: runs a loss and has its calls recorded, and computes its gradients.
- `recorder`: sees every call of a PyTorch function while the loss is computed.
- `graph_builder`: adds what was called to the neutral graph, value by value.
- `values`: knows which value of the graph a tensor holds.
- `autograd`: reads from PyTorch's own record which earlier values a gradient comes back to.
- `functions`: what users call PyTorch's functions, and what their names alone say of gradients.
- `frames`: finds the user's line that called.
- `restore`: puts back what the computation writes into tensors that were there before it.
- `train_step`: runs a training step written by hand up to its gradients.
- `gradient_check`: computes in float64, and draws the same random numbers again.
- `custom_loop`: lets every step through, since nothing is compiled.
- `random_state`: keeps and puts back the state of PyTorch's random generators.
- `row_lookup`: looks up rows of a table of which a part trains, faster than by Keras's operations.
- `holdings`: finds buffers and other state of layers that is not a Keras variable.
- `machines`: finds models that are wrapped for several processes, or sharded.
- `internals`: every private name of PyTorch that these need.
"""
