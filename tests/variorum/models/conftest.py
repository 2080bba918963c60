"""The embedded models, a photograph of a cat, and a disc to cut out."""

from __future__ import annotations

import numpy as np
import pytest

from variorum.models import ModelTable


@pytest.fixture(scope="module")
def table():
    return ModelTable("embedded")


@pytest.fixture(scope="module")
def cat():
    from skimage import data

    return data.chelsea()


@pytest.fixture(scope="session")
def disc():
    """Makes a mask `[size, size]` with a disc in its middle that has this share of the area."""

    def make(size, share):
        rows, columns = np.mgrid[:size, :size]
        radius = size * np.sqrt(share / np.pi)
        return (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < radius**2

    return make
