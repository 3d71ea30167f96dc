"""What Frostline asks of TensorFlow.

- `reader`: traces a loss and has its graph translated.
- `tracing`: runs the computation into a graph, and remembers the layer of each operation.
- `host_reads`: answers Python code that asks a tensor for its value while it is traced.
- `translation`: goes through the traced graphs and adds their values to the neutral graph.
- `gradients`: asks the gradient registered for one operation which inputs it reaches.
- `operations`: what an operation is called, what it holds and calls, and which line made it.
- `measure`: computes a loss and its gradients once.
- `train_step`: runs a training step written by hand up to its gradients.
- `gradient_check`: computes in float64, and draws the same random numbers again.
- `custom_loop`: stops steps that `tf.function` traced under an earlier plan.
- `machines`: finds models of a distribution strategy.
- `internals`: every private name of TensorFlow that these need.
"""
