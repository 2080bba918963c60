"""Models by alias: recipes name an alias, and a table says which pinned weights it stands for."""

from variorum.models.filters import refuse_filters
from variorum.models.status import Status
from variorum.models.table import ModelTable, doctor

__all__ = ["ModelTable", "Status", "doctor", "refuse_filters"]
