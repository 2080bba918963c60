"""Models that a user brings: `timm:resnet50.a1_in1k`, `onnx:file.onnx`, `module:my_file.py:load`, or a function.

A brought model is a `BroughtModel`, whatever library it comes from. `ModelTable` takes such a name wherever it takes an
alias, so recipes and evaluations can name one.
"""

from variorum.models.brought.function import from_function
from variorum.models.brought.model import BroughtModel
from variorum.models.brought.names import PREFIXES, find, is_brought

__all__ = ["PREFIXES", "BroughtModel", "find", "from_function", "is_brought"]
