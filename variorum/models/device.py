"""Where PyTorch models run."""

from __future__ import annotations


def best_device() -> str:
    """`cuda` when there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
