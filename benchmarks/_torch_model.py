"""The model of `lra_bench.model` in PyTorch, with PyTorch's or performer-pytorch's attention."""

# pyright: reportMissingImports=false
# PyTorch comes with an extra of its own.

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lra_bench.contracts import Task
from lra_bench.settings import ModelSettings, RunSettings

_EPSILON = 1e-6  # of layer normalisation, as in Flax
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def training_step(task: Task, settings: RunSettings, length: int) -> Callable[[], float]:
    """Return a call that does one training step on random tokens, without padding.

    Raises:
        LookupError: there is no PyTorch implementation of the attention here.
    """
    torch.manual_seed(settings.seed)
    model, train = TorchClassifier(task, settings.model, settings.attention, length), settings.train
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=train.learning_rate,
        betas=(0.9, train.beta2),
        eps=train.epsilon,
        weight_decay=train.weight_decay,
    )
    tokens = torch.randint(1, task.vocab_size, (train.batch_size, length))
    labels = torch.randint(0, task.num_classes, (train.batch_size,))

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model(tokens), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


class TorchClassifier(nn.Module):
    """Embedding, positions, pre-LN blocks, mean over the real tokens, hidden layer, classes."""

    def __init__(self, task: Task, settings: ModelSettings, name: str, length: int) -> None:
        super().__init__()
        width = settings.emb_dim
        self.pad_id = task.pad_id
        self.embed = nn.Embedding(task.vocab_size, width)
        self.positions = nn.Parameter(torch.randn(length, width) * width**-0.5)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            TorchBlock(settings, attention(name, settings, length))
            for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.hidden = nn.Linear(width, settings.ffn_dim)
        self.out = nn.Linear(settings.ffn_dim, task.num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return class logits (b classes) of tokens (b l)."""
        x = self.dropout(self.embed(tokens) + self.positions)
        for block in self.blocks:
            x = block(x)
        real = (tokens != self.pad_id).float()
        weights = real / real.sum(1, keepdim=True).clamp(min=1)
        pooled = torch.einsum("bl,ble->be", weights, self.norm(x))
        return self.out(functional.relu(self.hidden(pooled)))


class TorchBlock(nn.Module):
    """A pre-LN Transformer block; identity computes no queries and keys."""

    def __init__(self, settings: ModelSettings, attend: Attention | None) -> None:
        super().__init__()
        width, self.heads = settings.emb_dim, settings.num_heads
        inner = settings.num_heads * settings.head_dim
        self.attend = attend
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.ffn_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.query = nn.Linear(width, inner) if attend else None
        self.key = nn.Linear(width, inner) if attend else None
        self.value = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)
        self.ffn_in = nn.Linear(width, settings.ffn_dim)
        self.ffn_out = nn.Linear(settings.ffn_dim, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to x (b l e)."""
        x = x + self.dropout(self.out(self._attention(self.attention_norm(x))))
        hidden = functional.gelu(self.ffn_in(self.ffn_norm(x)), approximate="tanh")
        return x + self.dropout(self.ffn_out(hidden))

    def _attention(self, x: Tensor) -> Tensor:
        if self.attend is None or self.query is None or self.key is None:
            return self.value(x)
        q, k, v = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        return self.attend(q, k, v).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def attention(name: str, settings: ModelSettings, length: int) -> Attention | None:
    """Return a function of q, k, v (b h l d), in its own library's defaults; None for identity.

    Raises:
        LookupError: there is none.
    """
    makers: dict[str, Callable[[], Attention | None]] = {
        "identity": lambda: None,
        "linear": lambda: _linear,
        "linformer": lambda: TorchLinformer(length, min(256, length)),
        "performer-softmax": lambda: _favor(settings.head_dim),
        "performer-relu": lambda: _favor(settings.head_dim, generalized_attention=True),
        "performer-generalized": lambda: _favor(
            settings.head_dim, generalized_attention=True, kernel_fn=torch.exp
        ),
        **dict.fromkeys(
            ("softmax", "softmax-fused", "softmax-chunked"),
            lambda: functional.scaled_dot_product_attention,
        ),
    }
    return makers[name]()


def _favor(head_dim: int, **options: Any) -> Attention:
    library: Any = importlib.import_module("performer_pytorch")
    return library.FastAttention(head_dim, 256, **options)


def _linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute linear attention, Eqs. (4) to (7) of Katharopoulos et al. 2020."""
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    normaliser = q @ k.sum(-2).unsqueeze(-1)
    return (q @ (k.transpose(-1, -2) @ v)) / normaliser


class TorchLinformer(nn.Module):
    """Softmax attention over keys and values projected along the length: Wang et al. 2020."""

    def __init__(self, length: int, projected: int) -> None:
        super().__init__()
        self.of_keys = nn.Parameter(torch.randn(projected, length) * length**-0.5)
        self.of_values = nn.Parameter(torch.randn(projected, length) * length**-0.5)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the attention of q, k, v (b h l d)."""
        attend = functional.scaled_dot_product_attention
        return attend(q, self.of_keys @ k, self.of_values @ v)
