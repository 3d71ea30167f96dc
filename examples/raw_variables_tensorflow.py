"""Raw `tf.Variable`s in a `GradientTape` loop, without a model: one trained, one not, and the proof."""

import numpy as np
import tensorflow as tf

import frostline as fl

rng = np.random.default_rng(1)
x = tf.constant(rng.normal(size=(256, 3)), tf.float32)
y = tf.constant(np.tanh(x.numpy() @ [[1.0], [-2.0], [0.5]]) * 3, tf.float32)

slope = tf.Variable(tf.zeros((3, 1)), name="slope")
height = tf.Variable(3.0, trainable=False, name="height")  # known, and not to be learned
variables = {"slope": slope, "height": height}
momentum = tf.Variable(tf.zeros_like(slope))


def error():
    return tf.reduce_mean(tf.square(height * tf.tanh(x @ slope) - y))


@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = error()
    # The tape watches trainable variables only. Naming just those here as well leaves nothing to luck:
    # a list with `height` in it would give None in its place, and an optimizer might decay it all the same.
    (gradient,) = tape.gradient(loss, [slope])
    momentum.assign(0.9 * momentum + gradient)
    slope.assign_sub(0.05 * momentum)
    return loss


before = fl.fingerprint(variables)
losses = [float(step()) for _ in range(400)]
print(f"loss: {losses[0]:.4f} -> {losses[-1]:.4f}")
assert losses[-1] < losses[0] / 20

verification = fl.verify(variables, before, ["slope"])
verification.require_ok()
print("trained:", ", ".join(verification.of("trained")))
print("intact: ", ", ".join(verification.of("intact")))
assert verification.of("intact") == ("height",)

explained = fl.explain(error, variables)
print(explained)
assert [one.status for one in explained.values()] == ["trains", "frozen"]
