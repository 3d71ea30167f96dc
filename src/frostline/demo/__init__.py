"""A real encoder and real data, small enough to fine-tune on two CPU cores.

The parts are loaded from packages that the `demo` extra names; nothing is downloaded at run time.

- `frostline.demo.encoder`: a BERT encoder and a regressor on top of it, as plain Keras models.
- `frostline.demo.minilm`: the published weights and tokenizer of all-MiniLM-L6-v2.
- `frostline.demo.lexicon`: 7,188 English words with ten human ratings of sentiment each.
- `frostline.demo.digits`: 5,000 MNIST digits, and a small network to transfer from 0-4 to 5-9.
- `frostline.demo.locate`: finds the packages that hold the data, without importing them.

This module imports nothing, so that `lexicon` and `digits` can be read without a backend.
"""
