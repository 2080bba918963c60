"""What a generated picture costs beside diffusers: the whole way from source to shard against a bare pipeline loop.

On a CPU the pipeline is Stable Diffusion's with random weights, small, but with steps long enough to measure by. On a
GPU it is of Stable Diffusion 1.5's own shape, and a sweep over batch sizes comes with it.
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

from schemas.component import Context
from schemas.recipe import Recipe
from variorum.engine import plan, run_unit
from variorum.memo import DiskMemo
from variorum.models.latent_diffusion import TextToImage
from variorum.store import Store

sys.path.append(str(Path(__file__).parents[1] / "tests" / "plugins"))

GPU = torch.cuda.is_available()
BATCH, BATCHES, STEPS, SIDE, ROUNDS = (8, 4, 30, 512, 3) if GPU else (4, 2, 10, 128, 5)
SWEEP = (1, 2, 4, 8, 16, 32)
LIMIT = 1.03
"""Of the whole way by the bare loop."""


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
    """Stable Diffusion with random weights: of 1.5's shape in float16 on a GPU, else a tenth as wide."""
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
    """The models of a recipe that asks for one."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def get(self, alias: str) -> Any:
        """The one."""
        return self.model

    def pin(self, alias: str) -> str:
        """A name for it."""
        return f"{alias}@random"


def compare(pipeline: Any, place: Path) -> dict[str, Any]:
    """The two ways, with the same batch, steps, guidance and type."""
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
    (unit,) = plan(recipe, ctx).units
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
        run_unit(recipe, unit, ctx, Store(str(place / "store")))

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
    """Pictures a second, memory and utilisation by batch size, until memory runs out."""
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
    """The driver's own figure, asked for ten times a second; None without the package pynvml."""

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
        """Percent."""
        return round(sum(self._seen) / len(self._seen), 1) if self._seen else None


if __name__ == "__main__":
    main()
