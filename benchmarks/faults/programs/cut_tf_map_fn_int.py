"""TensorFlow: ids by `tf.cast` to int and back in a mapped function."""

import tensorflow as tf

FAULT = {
    "kind": "cut",
    "backends": ["tensorflow"],
    "statuses": {"w": "cut"},
    "reason": ["integer"],
    "symptom": {"still": ["w"]},
    "source": "own",
}
X = tf.reshape(tf.range(12, dtype=tf.float32), (4, 3)) / 6


def program():
    w = tf.Variable(tf.fill((3,), 1.5), name="w")
    v = tf.Variable(2.0, name="v")

    def loss():
        z = tf.linalg.matvec(X, w)
        z = tf.cast(tf.cast(z, tf.int32), tf.float32)  # <- here
        # mended: z = z + tf.stop_gradient(tf.round(z) - z)
        return tf.reduce_mean((z * v) ** 2)

    return loss, {"w": w, "v": v}
