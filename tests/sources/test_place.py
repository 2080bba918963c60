"""The line that says which data a source reads; a -dev version may not move from one place to another."""

from pathlib import Path

import pytest

from variorum.schemas.lookup import build_component

HERE = Path.cwd()


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"name": "class_names", "only": ["bag"], "licence": "MIT"}, "class_names table=imagenet"),
        ({"name": "corrupted", "of": {"name": "samples"}, "kind": "contrast"}, "corrupted of=(samples)"),
        ({"name": "edition", "edition": "a@1.0.0", "store": "s"}, "edition edition=a@1.0.0 store=s split=all"),
        ({"name": "edition", "edition": "e/a/1.0.0"}, "edition edition=e/a/1.0.0 split=all"),
        ({"name": "fashion_mnist", "path": "f", "part": "test"}, f"fashion_mnist path={HERE}/f"),
        ({"name": "huggingface", "dataset": "me/d", "label": "l"}, "huggingface dataset=me/d split=train"),
        (
            {"name": "huggingface", "dataset": "parquet", "subset": "q", "data_files": ["a", "b"]},
            "huggingface dataset=parquet subset=q split=train data_files=['a', 'b']",
        ),
        ({"name": "image_folder", "path": "p", "masks": "m", "licence": "MIT"}, f"image_folder path={HERE}/p"),
        ({"name": "imagenet", "path": "p"}, f"imagenet path={HERE}/p split=validation"),
        ({"name": "imagenet", "dataset": "me/d", "commit": "c"}, "imagenet dataset=me/d split=validation"),
        (
            {"name": "parquet", "files": ["/a", "s3://key:secret@b/*.parquet?token=x"]},
            "parquet files=/a,s3://b/*.parquet",
        ),
        ({"name": "samples", "stamps": "none"}, "samples"),
    ],
)
def test_the_place_is_what_tells_data_apart(config, place):
    assert build_component("source", config, "source").place() == place
