"""Makes the adapter beside this file with PEFT itself (made with 0.21.2); needs torch and peft, not Keras.

python tests/saved/peft_adapter/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

HERE = Path(__file__).parent
WORDS, WIDTH, HEADS, INNER = 11, 8, 2, 12


class Encoder(nn.Module):
    """One block of a transformer without layer normalization; the Keras twin is in `test_peft.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids)
        batch, length, _ = hidden.shape

        def heads(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.reshape(batch, length, HEADS, -1).transpose(1, 2)

        query, key, value = (heads(layer(hidden)) for layer in (self.query, self.key, self.value))
        scores = torch.softmax(query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5, -1)
        mixed = (scores @ value).transpose(1, 2).reshape(batch, length, WIDTH)
        hidden = hidden + self.output(mixed)
        return hidden + self.down(torch.relu(self.up(hidden)))


def main() -> None:
    torch.manual_seed(0)
    encoder = Encoder()
    base = {name: value.detach().numpy().copy() for name, value in encoder.state_dict().items()}
    ids = torch.arange(10).reshape(2, 5)
    before = encoder(ids).detach().numpy()
    config = LoraConfig(
        r=2,
        lora_alpha=3,
        target_modules=["words", "query", "value", "output", "up"],
        rank_pattern={"up": 3},
        alpha_pattern={"output": 5},
    )
    adapted = get_peft_model(encoder, config)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter) * 0.3
    adapted.eval()
    adapted.save_pretrained(HERE)
    after = adapted(ids).detach().numpy()
    np.savez_compressed(HERE / "encoder.npz", ids=ids.numpy(), before=before, after=after, **base)
    (HERE / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
