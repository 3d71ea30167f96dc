"""A `tf.function` whose `if` and `for` become a condition and a loop of the graph; lines stay the user's."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {
    "one_branch": "trains",
    "both_branches": ("cut", "stop_gradient", "not_differentiable"),
    "asked": ("cut", "integer"),
    "looped": "trains",
}


@tf.function
def chosen(asked, one, both):
    if asked > 1.0:  # cut asked
        value = one * tf.stop_gradient(both)  # cut both_branches
        return value + one
    return tf.sign(both)  # cut both_branches


@tf.function(jit_compile=True)
def looped_over(value, factor):
    for _ in tf.range(3):
        value = value * factor
    return value


def case():
    names = ("one_branch", "both_branches", "asked", "looped")
    one, both, asked, looped = variables = [tf.Variable(2.0, name=name) for name in names]
    return lambda: looped_over(chosen(asked, one, both), looped), variables
