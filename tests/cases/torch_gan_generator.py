"""The step of the generator of a GAN with two optimizers: a gradient comes through the critic."""

import torch

BACKENDS = ("torch",)
EXPECT = {
    "generator.0.weight": "trains",
    "generator.0.bias": "trains",
    "generator.2.weight": "trains",
    "generator.2.bias": "trains",
    "critic.0.weight": "trains",
    "critic.0.bias": "trains",
    "critic.2.weight": "trains",
    "critic.2.bias": "trains",
}
NOISE, REAL = torch.ones(2, 3), torch.full((2, 4), 0.5)


def case():
    generator = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    critic = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LeakyReLU(), torch.nn.Linear(8, 1))
    of_generator = torch.optim.Adam(generator.parameters())
    of_critic = torch.optim.Adam(critic.parameters())

    def generator_loss():
        return torch.nn.functional.softplus(-critic(generator(NOISE))).mean()

    def critic_loss():
        made = generator(NOISE).detach()
        real = torch.nn.functional.softplus(-critic(REAL))
        return (torch.nn.functional.softplus(critic(made)) + real).mean()

    for optimizer, loss in ((of_generator, generator_loss), (of_critic, critic_loss)):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    named = [("generator", generator), ("critic", critic)]
    variables = {f"{name}.{path}": p for name, net in named for path, p in net.named_parameters()}
    return generator_loss, variables
