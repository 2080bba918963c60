"""One file a kind of model. Each has `REVISION`, `problem(entry)` and `load(entry, weights, used)`.

`REVISION` is part of the pin and is bumped when the same weights start to give other output. `problem` says in a line
what keeps an entry of this kind from running on this machine, `""` for nothing. `load` is called when nothing does and
returns an object that plays a role of `variorum.models.roles`; it is given the checked path of the weights and the
models that the entry uses.
"""
