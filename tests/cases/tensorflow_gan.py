"""The generator's step of a GAN: the critic is live in it, so its optimizer must not be given it."""

import tensorflow as tf

BACKENDS = ("tensorflow",)
EXPECT = {"generator": "trains", "critic": "trains", "unrelated": "unused"}
NOISE = tf.ones((2, 3))


def case():
    generator = tf.Variable(tf.ones((3, 3)) * 0.1, name="generator")
    critic = tf.Variable(tf.ones((3, 1)) * 0.2, name="critic")
    unrelated = tf.Variable(tf.ones((3, 1)), name="unrelated")

    def loss():
        return tf.reduce_mean(tf.nn.softplus(-(NOISE @ generator) @ critic))

    return loss, [generator, critic, unrelated]
