"""Anybody's WebDataset tars: img2dataset's, those of `webdataset.ShardWriter`, Variorum's own, on disk or at URLs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from variorum.generators.sources.reading.folder import mask_trouble
from variorum.generators.sources.reading.objects import BadObjects, BoxFormat, checked, read_objects
from variorum.generators.sources.reading.tar_bytes import Readable
from variorum.generators.sources.reading.tar_index import FLAWS, NO_CONTENT, Entry
from variorum.generators.sources.reading.tar_members import (
    BadMember,
    Contents,
    FactPaths,
    Label,
    MemberPath,
    captions,
    labels,
)
from variorum.generators.sources.reading.tar_remote import shown
from variorum.generators.sources.reading.tar_set import TarSet
from variorum.generators.sources.reading.tar_shards import Shard, find_shards
from variorum.pixels import UndecodableImage, upright_size
from variorum.schemas.annotations import Annotations, Object, Text
from variorum.schemas.canonical import Json, digest
from variorum.schemas.component import ClassInfo, Context, Source
from variorum.schemas.errors import SourceError
from variorum.schemas.sample import Failure, Sample, source_id

log = logging.getLogger(__name__)

NONE = "none"
BATCH = 256
"""Samples whose places are looked up at a time."""
