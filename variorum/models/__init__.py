"""Models by alias: recipes name an alias, and a table says which pinned weights it stands for."""

from variorum.models.aliases import ModelTable, doctor
from variorum.models.filters import refuse_filters
from variorum.models.status import Status

__all__ = ["ModelTable", "Status", "doctor", "refuse_filters"]
