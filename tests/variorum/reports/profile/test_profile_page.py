"""The page of a report: what it holds, that it trusts no text, and that the same report gives the same bytes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from plausible_report import pictures, report

from variorum.reports.profile.page import page


class Parsed(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen = ""
        self._own = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._own = tag

    def handle_data(self, data):
        if self._own not in ("style", "script"):
            self.seen += data


def test_it_says_what_the_report_says():
    made = report()
    text = " ".join(Parsed(page(made, pictures(made)).decode()).seen.split())
    assert "How three classifiers hold up on your 96 photographs" in text
    assert "saw each picture once" not in text  # attacks and certificates don't
    one = made.rows[1].models["torchvision:resnet50"].figure
    assert f"{one.value:.1f} [{one.low:.1f}, {one.high:.1f}]" in text
    for said in ("gives no embedding", "at its floor", "variorum view imagenet_e@1.0.0-dev", "No overall score."):
        assert said in text
    assert all(one.title in text and one.why_not in text for one in made.not_measured)
    assert "variorum report \\ --suite robustness \\ --source photos \\ --model timm:resnet50.a1_in1k" in text


def test_the_same_report_gives_the_same_bytes_and_all_pictures():
    made = report()
    found = pictures(made)
    first = page(made, found)
    assert first == page(made.model_validate_json(made.model_dump_json()), dict(reversed(found.items())))
    images = [one for tag, one in Parsed(first.decode()).tags if tag == "img"]
    assert len(images) == sum(len(row.pictures) for row in made.rows)
    assert all(re.match(r"data:image/webp;base64,[\w+/=]+$", one["src"]) and one["alt"] for one in images)


def test_no_text_of_the_report_becomes_markup_or_is_hidden():
    evil = '"><img src=x onerror=alert(1)></script>\u202egnp\u200b'
    clean = report((f"a{evil}", f"b{evil}"))
    rows = tuple(
        row.model_copy(
            update={
                **dict.fromkeys(("title", "section", "measure", "note", "pictures_each", "broken_by"), evil),
                "id": f"{row.id}{evil}",
                "pictures": tuple(
                    one.model_copy(
                        update={
                            "label": evil,
                            "column": evil,
                            "said": tuple(
                                said.model_copy(update={"answer": evil, "right": False}) for said in one.said
                            ),
                        }
                    )
                    for one in row.pictures
                ),
                "curve": row.curve and row.curve.model_copy(update={"by": evil, "at": (evil,) * len(row.curve.at)}),
            }
        )
        for row in clean.rows
    )
    made = clean.model_copy(
        update={
            "rows": rows,
            "command": evil,
            "credits": (evil,),
            "lead": (evil,),
            "not_measured": tuple(
                one.model_copy(update={"title": evil, "why_not": evil, "way_out": f"`{evil}`"})
                for one in clean.not_measured
            ),
        }
    )
    text = page(made, {}).decode()
    tags = [tag for tag, _ in Parsed(text).tags]
    assert "img" not in tags
    assert tags.count("script") == text.count("</script>") == 1
    assert not [name for _, found in Parsed(text).tags for name in found if name.startswith("on")]
    assert "\u202e" not in text
    assert "\u200b" not in text
    assert "�gnp�" in text
