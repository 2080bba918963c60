"""Gate a dataset with a content warning on the Hub: who asks for it agrees first.

The header words the question. Asking is switched on in the settings of the repository, which no file in it can do.
"""

from __future__ import annotations

from typing import Any

from variorum.schemas.manifest import Manifest

TAG = "not-for-all-audiences"
"""The Hub asks before it shows a repository with this tag."""
FIELDS = {
    "Affiliation": "text",
    "What I need the pictures for": "text",
    "I am of age where I live, have read the content warning and want to see the pictures": "checkbox",
    "I use them for research on the safety and robustness of models only, and pass none of them on": "checkbox",
}
"""What is asked of people who want access."""


def gate(manifest: Manifest) -> dict[str, Any]:
    """The fields of a card's YAML header that ask for agreement; empty for an edition without a warning.

    They are the Hub's for gated datasets, and `viewer`, which keeps pictures from being shown unblurred on the Hub.
    """
    if not manifest.warning:
        return {}
    return {
        "extra_gated_heading": "Pictures that you may not want to see: agree before you get them",
        "extra_gated_prompt": f"Content warning: {manifest.warning}",
        "extra_gated_fields": FIELDS,
        "extra_gated_button_content": "I agree",
        "viewer": False,
    }
