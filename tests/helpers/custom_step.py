"""Models with training steps of their own, written for each backend as Keras's guides do."""

from typing import Any

import keras
from keras import layers, ops

from helpers.small_models import INPUTS, OUTPUTS, SEED


class CustomStep(keras.Model):
    """Dense `a`, Dense `b`, and a training step of its own, as Keras's guides write one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a = layers.Dense(3, name="a")
        self.b = layers.Dense(OUTPUTS, name="b")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.a.build(input_shape)
        self.b.build((*input_shape[:-1], 3))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.b(self.a(inputs))

    def train_step(self, *arguments: Any) -> Any:
        match keras.backend.backend():
            case "tensorflow":
                return self._tensorflow_step(*arguments)
            case "torch":
                return self._torch_step(*arguments)
            case _:
                return self._jax_step(*arguments)

    def _tensorflow_step(self, data: Any) -> Any:
        import tensorflow as tf

        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        return {"loss": loss}

    def _torch_step(self, data: Any) -> Any:
        import torch

        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        loss.backward()
        gradients = [weight.value.grad for weight in self.trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, self.trainable_weights)
        return {"loss": loss}

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        trained, others, slots, metrics = state

        def loss_of(trained: Any) -> Any:
            predicted, updated = self.stateless_call(trained, others, x, training=True)
            return self.compute_loss(y=y, y_pred=predicted), updated

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        return {"loss": loss}, (trained, others, slots, metrics)


def custom_step() -> keras.Model:
    """A built `CustomStep`."""
    keras.utils.set_random_seed(SEED)
    model = CustomStep(name="custom_step")
    model.build((None, INPUTS))
    return model


class Adversaries(keras.Model):
    """Two networks, two optimizers, two losses; one step trains both, as Keras's guide to GANs does.

    Args:
        cut: Whether no gradient reaches the generator.
        opposed: Whether what the one loses is what the other wins, as in a Wasserstein GAN.
    """

    def __init__(self, *, cut: bool = False, opposed: bool = False) -> None:
        super().__init__(name="adversaries")
        self.opposed = opposed
        self.generator = layers.Dense(INPUTS, name="generator")
        self.critic = layers.Dense(1, name="critic")
        self.idle = layers.Dense(1, name="idle")
        self.cut = cut

    def build(self, shape: Any) -> None:
        for layer in (self.generator, self.critic, self.idle):
            layer.build(shape)

    def call(self, inputs: Any) -> Any:
        return self.critic(self.generator(inputs))

    def _judged(self, x: Any) -> Any:
        made = self.generator(x)
        return self.critic(ops.stop_gradient(made) if self.cut else made)

    def _both(self, x: Any, real: Any) -> tuple[Any, Any]:
        if self.opposed:
            made = ops.mean(self._judged(x))
            return made - ops.mean(self.critic(real)), -made
        of_critic = ops.mean(ops.softplus(-self.critic(real))) + ops.mean(ops.softplus(self._judged(x)))
        return of_critic, ops.mean(ops.softplus(-self._judged(x)))

    def train_step(self, *arguments: Any) -> Any:
        return getattr(self, f"_{keras.backend.backend()}_step")(*arguments)

    def _tensorflow_step(self, data: Any) -> Any:
        import tensorflow as tf

        x, real = data
        for place, layer in enumerate((self.critic, self.generator)):
            with tf.GradientTape() as tape:
                loss = self._both(x, real)[place]
            gradients = tape.gradient(loss, layer.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, layer.trainable_weights, strict=True))
        return {}

    def _torch_step(self, data: Any) -> Any:
        x, real = data
        for place, layer in enumerate((self.critic, self.generator)):
            self.zero_grad()
            self._both(x, real)[place].backward()
            gradients = [weight.value.grad for weight in layer.trainable_weights]
            self.optimizer.apply(gradients, layer.trainable_weights)
        return {}

    def _jax_step(self, state: Any, data: Any) -> Any:
        import jax

        trained, others, slots, metrics = state
        for place in (0, 1):

            def loss_of(values: Any, place: int = place) -> Any:
                mapping = list(zip(self.trainable_variables, values, strict=True))
                with keras.StatelessScope(state_mapping=mapping):
                    return self._both(*data)[place]

            _, gradients = jax.value_and_grad(loss_of)(trained)
            trained, slots = self.optimizer.stateless_apply(slots, gradients, trained)
        return {}, (trained, others, slots, metrics)


class Fails(CustomStep):
    """Fails before it asks for a gradient."""

    def train_step(self, *arguments: Any) -> Any:
        raise ArithmeticError("of the user's own")
