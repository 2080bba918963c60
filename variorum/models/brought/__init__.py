"""Models that a user brings: `timm:resnet50.a1_in1k`, `onnx:file.onnx`, `module:my_file.py:load`, or a function.

A brought model is a `BroughtModel`, whatever library it comes from. `ModelTable` takes such a name wherever it takes an
alias, so recipes and evaluations can name one.
"""
