"""A pre-trained embedding held fixed, and the same with new rows that train.

The word vectors come from a text file. Two words of the vocabulary have no vector in it: in the second model
their rows train, and those alone.
"""

from pathlib import Path

import keras
import numpy as np

import frostline as fl

rng = np.random.default_rng(1)
known = ["good", "fine", "bad", "poor"]
vectors = {word: rng.normal(size=8) * 0.3 + sign for word, sign in zip(known, (1, 1, -1, -1), strict=True)}
lines = [f"{word} {' '.join(f'{number:.4f}' for number in vector)}" for word, vector in vectors.items()]
Path("vectors.txt").write_text("\n".join(lines), encoding="utf-8")

vocabulary = [*known, "groovy", "meh"]
x = rng.integers(0, len(vocabulary), (512, 3)).astype("int32")
y = np.array([1, 1, -1, -1, 1, -1], "float32")[x].sum(-1, keepdims=True)  # "groovy" is good, "meh" is not


def trained(train):
    keras.utils.set_random_seed(1)
    words = fl.layers.PretrainedEmbedding("vectors.txt", vocabulary=vocabulary, train=train, name="words")
    pool = keras.layers.GlobalAveragePooling1D(name="pool")
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), words, pool, keras.layers.Dense(1, name="head")]
    )
    model.compile(keras.optimizers.AdamW(0.05, weight_decay=0.01), "mse")
    run = fl.fit(model, fl.Plan().train("**"), x, y, epochs=15, verbose=0)
    run.verification.require_ok()
    print("trained:", ", ".join(run.verification.of("trained")))
    print("held:   ", ", ".join(run.verification.of("held")))
    return run, keras.ops.convert_to_numpy(words.embeddings)


fixed, table = trained(train=False)
assert fixed.verification.of("trained") == ("head/kernel", "head/bias")

grown, new_table = trained(train="oov")
assert grown.verification.of("trained") == ("words/rows", "head/kernel", "head/bias")
assert new_table[:4].tobytes() == table[:4].tobytes()  # the old rows, to the bit
assert (new_table[4:] != table[4:]).all()
losses = [run.history.history["loss"][-1] for run in (fixed, grown)]
print(f"loss with new words unknown: {losses[0]:.2f}, learned: {losses[1]:.2f}")
assert losses[1] < losses[0] / 2
