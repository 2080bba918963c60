"""Models by alias: what recipes name, pinned to the byte, loaded once, never downloaded by surprise."""

from variorum.models.table import ModelTable, Status, doctor

__all__ = ["ModelTable", "Status", "doctor"]
