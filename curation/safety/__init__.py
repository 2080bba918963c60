"""Find unsafe pictures, by labelers that score categories of harm."""

from variorum.schemas.lookup import Kind
from variorum.schemas.safety import Labeler

COMPONENTS = ("safety",)
KINDS = {"labelers": Kind("variorum.curation.safety.labelers", (Labeler,), "labeler", ("opinions",))}
