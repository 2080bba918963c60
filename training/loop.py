"""The training loop of the packaged diffusion models. It can be stopped at any time and continues where it was."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CHECKPOINT_SECONDS = 120


def parsed(about: str, *, steps: int, steps_help: str, data: Path, data_help: str) -> argparse.Namespace:
    """The options of a training script, from the command line; `about` is its docstring."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=steps, help=steps_help)
    parser.add_argument("--minutes", type=float, default=math.inf, help="CPU minutes after which to stop early")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=data, help=data_help)
    parser.add_argument("--out", type=Path, required=True, help="gets checkpoint.pt and model/")
    return parser.parse_args()


def save_network(model: Any, schedule: Any, folder: Path, mean: dict[str, torch.Tensor]) -> None:
    """Write the packaged folder: `config.json`, fp16 safetensors, `scheduler_config.json`."""
    model.load_state_dict(mean)
    model.half().save_pretrained(folder, variant="fp16", safe_serialization=True)
    schedule.save_config(folder)


def run(
    arguments: argparse.Namespace,
    model: Any,
    *,
    rate: Callable[[int], float],
    weight_decay: float,
    decay: float,
    loss_of: Callable[[int], torch.Tensor],
    save: Callable[[Path, dict[str, torch.Tensor]], None],
) -> None:
    """Train until the steps are done or the CPU minutes are spent; save a moving average of the weights.

    Args:
        arguments: as `parsed` gives them.
        model: on the CPU; a checkpoint in `out` replaces its weights.
        rate: learning rate of a step.
        weight_decay: of AdamW.
        decay: of the exponential moving average; lower in the first steps.
        loss_of: loss of a step. Its random draws depend only on the step, so that a stop makes no difference.
        save: writes the average to a folder.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate(0), betas=(0.9, 0.99), weight_decay=weight_decay)
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    start, spent = 0, 0.0
    checkpoint = arguments.out / "checkpoint.pt"
    if checkpoint.exists():
        kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(kept["model"])
        optimiser.load_state_dict(kept["optimiser"])
        mean, start, spent = kept["mean"], kept["step"], kept["cpu_seconds"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    began, written, smooth = time.process_time() - spent, time.monotonic(), math.nan
    step, seconds, limit = start, spent, arguments.minutes * 60
    while step < arguments.steps and seconds < limit:
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        loss = loss_of(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        share = min(decay, step / (step + 10))
        for name, value in model.state_dict().items():
            mean[name].lerp_(value, 1 - share)
        smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
        seconds = time.process_time() - began
        if step == arguments.steps or seconds >= limit or time.monotonic() - written > CHECKPOINT_SECONDS:
            written = time.monotonic()
            report = {"step": step, "loss": round(smooth, 4), "cpu_minutes": round(seconds / 60, 2)}
            print(json.dumps(report), flush=True)
            fresh = checkpoint.with_suffix(".tmp")
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean}
            torch.save({**state, "step": step, "cpu_seconds": seconds}, fresh)
            fresh.replace(checkpoint)
            save(arguments.out / "model", mean)
