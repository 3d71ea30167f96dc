"""A trained embedding that is held fixed gets new rows, and these alone train: a vocabulary that grows.

A language model with tied output weights counts upwards from 0 to 11. Then it learns names for 3, 5 and 7, as
words that it reads and as words that it writes. All that it knew stays, to the bit, under weight decay too.
"""

import keras
import numpy as np

import frostline as fl

keras.utils.set_random_seed(1)
OLD, NAMED = 12, [3, 5, 7]

ids = keras.Input((2,), dtype="int32")
tokens = keras.layers.ReversibleEmbedding(OLD, 16, name="tokens")
hidden = keras.layers.Dense(16, activation="tanh", name="hidden")(keras.layers.Flatten()(tokens(ids)))
model = keras.Model(ids, tokens(hidden, reverse=True), name="counting")
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

pairs = np.array([(n, (n + 1) % OLD) for n in range(OLD)] * 16, "int32")
following = (pairs[:, 1] + 1) % OLD
model.compile(keras.optimizers.Adam(0.02), loss)
fl.fit(model, fl.Plan().train("**"), pairs, following, epochs=15, verbose=0).verification.require_ok()
known = model.get_layer("hidden")(keras.ops.reshape(tokens(pairs), (-1, 32)))

larger, plan = fl.grow_embedding(model, "tokens/embeddings", rows=len(NAMED), initializer="mean")
larger.compile(keras.optimizers.AdamW(0.05, weight_decay=0.1), loss)
print(plan.resolve(larger))

names = np.arange(OLD)
names[NAMED] = np.arange(OLD, OLD + len(NAMED))
run = fl.fit(larger, plan, names[pairs], names[following], epochs=40, verbose=0)
run.verification.require_ok()
losses = run.history.history["loss"]
print(f"loss: {losses[0]:.2f} -> {losses[-1]:.2f}")
print("trained in part:", ", ".join(run.verification.of("partial")))
print("intact:         ", ", ".join(run.verification.of("intact")))
assert losses[-1] < losses[0] / 4
assert run.verification.of("partial") == ("tokens/embeddings",)
assert run.verification.of("intact") == ("hidden/kernel", "hidden/bias")

table = larger.get_layer("tokens")
now = larger.get_layer("hidden")(keras.ops.reshape(table(pairs), (-1, 32)))
old, new = (keras.ops.convert_to_numpy(values).tobytes() for values in (known, now))
assert new == old  # what the model makes of old words
assert larger.output_shape == (None, OLD + len(NAMED))
