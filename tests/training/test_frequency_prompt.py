"""Prompts lower the loss that they are trained for, inside of their band and budget."""

from __future__ import annotations

from argparse import Namespace

from training.frequency_prompt import find, limited, prompted


def test_prompts_stay_above_a_frequency_and_below_a_budget():
    import torch

    values = torch.randn(2, 3, 8, 5, 2, generator=torch.Generator().manual_seed(0)) * 9
    found = limited(values, 0.5, 1.5).abs()
    assert float(found.max()) <= 1.5 + 1e-6
    assert float(found[:, :, 0, :2].max()) == 0  # the mean, and an eighth of the sampling rate: a quarter of Nyquist's
    assert float(found[:, :, 0, 2:].min()) > 0


def test_training_lowers_the_loss_with_the_same_prompts_each_time():
    import torch

    draw = torch.Generator().manual_seed(1)
    weights = torch.randn(3 * 8 * 8, 4, generator=draw)
    pictures, labels = torch.rand(64, 3, 8, 8, generator=draw), torch.randint(4, (64,), generator=draw)
    cluster = labels % 2

    def network(shown):
        return (shown.flatten(1) @ weights).log_softmax(-1)

    def loss(prompts):
        said = network(prompted(pictures, torch.view_as_complex(prompts)[cluster]))
        return float(torch.nn.functional.nll_loss(said, labels))

    asked = Namespace(seed=0, clusters=2, passes=8, low=0.3, budget=1.0)
    found = find(network, pictures, labels, cluster, asked)
    assert loss(found) < 0.95 * loss(torch.zeros_like(found))
    assert torch.equal(find(network, pictures, labels, cluster, asked), found)
