"""Cost of a generated picture from source to shard, compared with a bare loop over the diffusers pipeline.

On a CPU the pipeline is a small Stable Diffusion with random weights, with steps long enough to measure. On a GPU it
has the shape of Stable Diffusion 1.5, and a sweep over batch sizes is made too.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from timing import median, ratio, rounds

from variorum.machine.memo import DiskMemo
from variorum.models.diffusion.pipelines import TextToImage
from variorum.schemas.component import Context
from variorum.schemas.recipe import Recipe
from variorum.stages.build import Build
from variorum.stages.job import Job

sys.path.append(str(Path(__file__).parents[1] / "tests" / "plugins"))

GPU = torch.cuda.is_available()
BATCH, BATCHES, STEPS, SIDE, ROUNDS = (8, 4, 30, 512, 3) if GPU else (4, 2, 10, 128, 5)
SWEEP = (1, 2, 4, 8, 16, 32)
LIMIT = 1.03
"""Goal: time from source to shard divided by that of the bare loop."""


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        pipeline = pipeline_of(place)
        found = compare(pipeline, place)
        found["gpu"] = sweep(pipeline) if GPU else "none here, so no sweep over batch sizes"
        print(json.dumps(found, indent=1))
    finally:
        shutil.rmtree(place)


def pipeline_of(place: Path) -> Any:
    """Stable Diffusion with random weights: the shape of 1.5 in float16 on a GPU, otherwise a tenth as wide."""
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from tiny_pipelines import save_tokenizer, scheduler, text_config
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    width = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    shape: dict[str, Any] = {"sample_size": SIDE // 8, "cross_attention_dim": 768}
    latent: dict[str, Any] = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}
    if not GPU:
        width = {}
        shape |= {"cross_attention_dim": 32, "block_out_channels": (64, 128), "attention_head_dim": 8}
        shape |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
        shape |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
        latent = {"block_out_channels": (16, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 8}
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **latent
        ).eval(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**{**text_config(), **width})).eval(),
        tokenizer=save_tokenizer(place / "tokenizer"),
        unet=UNet2DConditionModel(**shape).eval(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda", torch.float16) if GPU else pipeline


class One:
    """A table with a single model."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def get(self, alias: str) -> Any:
        """The model, for any alias."""
        return self.model

    def pin(self, alias: str) -> str:
        """A pin for it."""
        return f"{alias}@random"

    def unfit(self, _alias: str, **_settings: object) -> str:
        """Any settings suit it."""
        return ""


def compare(pipeline: Any, place: Path) -> dict[str, Any]:
    """Times of both, with the same batch, steps, guidance and type."""
    number = BATCH * BATCHES
    recipe = Recipe.parse(
        {
            "dataset": "made",
            "version": "1.0.0",
            "samples_per_shard": number,
            "limit": number,
            "source": {"name": "class_names", "licence": "none"},
            "generate": [{"name": "text_to_image", "steps": STEPS, "batch": BATCH, "safety": {"checker": None}}],
        }
    )
    ctx = Context(0, One(TextToImage(pipeline)), DiskMemo(place / "memo"), recipe.source)
    (unit,) = Job(recipe, str(place / "store"), ctx=ctx).plan.units
    prompts = [f"a photo of a {sample.extras['txt'].decode()}" for sample in recipe.source.read(0, number, ctx)]

    def bare() -> None:
        for start in range(0, number, BATCH):
            pipeline(
                prompts[start : start + BATCH],
                num_inference_steps=STEPS,
                guidance_scale=7.5,
                generator=[torch.Generator("cpu").manual_seed(start + seed) for seed in range(BATCH)],
                output_type="np",
            )

    def whole() -> None:
        shutil.rmtree(place / "store", ignore_errors=True)
        Build(Job(recipe, str(place / "store"), ctx=ctx)).make(unit, lambda _: None)

    timed = rounds({"bare": bare, "whole": whole}, ROUNDS)
    return {
        "pictures": number,
        "batch": BATCH,
        "steps": STEPS,
        "side": SIDE,
        "dtype": str(pipeline.unet.dtype),
        "parameters": sum(weights.numel() for weights in pipeline.unet.parameters()),
        "bare cpu s/picture": round(median(timed, "bare") / number, 3),
        "whole cpu s/picture": round(median(timed, "whole") / number, 3),
        "whole / bare, cpu": ratio(timed, "whole", "bare"),
        "whole / bare, wall": ratio(timed, "whole", "bare", "wall"),
        "limit": LIMIT,
        "cores that others used": round(max(t.others for turn in timed for t in turn.values()), 2),
    }


def sweep(pipeline: Any) -> dict[str, Any]:
    """Pictures per second, memory and utilisation by batch size, until out of memory."""
    model, found = TextToImage(pipeline), {"card": torch.cuda.get_device_name()}
    for batch in SWEEP:
        seeds, prompts = list(range(batch)), [f"a photo of a thing {number}" for number in range(batch)]
        try:
            model(prompts, [""] * batch, seeds, steps=2, guidance=7.5, size=None)
            torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            with Utilisation() as busy:
                model(prompts, [""] * batch, seeds, steps=STEPS, guidance=7.5, size=None)
            seconds = time.perf_counter() - began
        except torch.OutOfMemoryError:
            found[f"batch {batch}"] = "out of memory"
            break
        found[f"batch {batch}"] = {
            "pictures/s": round(batch / seconds, 2),
            "memory GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
            "utilisation %": busy.mean(),
        }
        gc.collect()
    return found


class Utilisation:
    """GPU utilisation as the driver reports it, sampled ten times per second."""

    def __enter__(self) -> Utilisation:
        self._seen: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            try:
                self._seen.append(torch.cuda.utilization())
            except (ImportError, RuntimeError):
                return

    def mean(self) -> float | None:
        """Mean in percent; None without the package pynvml."""
        return round(sum(self._seen) / len(self._seen), 1) if self._seen else None


if __name__ == "__main__":
    main()
