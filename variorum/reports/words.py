"""Say in words what the codes in an edition's tables mean: states, verdicts, reasons and checks.

The code stays what filters and rules name. Where a code has no words here, as one of somebody's own recipe, it stands
for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

STATES: Mapping[str, str] = {
    "accepted": "The picture passed all checks.",
    "quarantined": "The picture failed a check and is kept apart, with the reason.",
    "ineligible": "The edit can't be made of this picture; the reason says why.",
    "failed": "Something went wrong, so there is no picture; the reason says what.",
    "withheld": "The picture may not be kept; only its row is left.",
    "dropped": "Curation left the picture out of this release.",
}
ACTIONS: Mapping[str, str] = {
    "keep": "Kept as it is, whatever else was suspected.",
    "drop": "Left out of the release.",
    "withhold": "Left out of the release; only a row with its hash and labels is left.",
    "relabel": "Gets another label in the release.",
    "review": "Kept, and people are asked about it.",
    "unasked": "People would have been asked, but other questions matter more or they have answered already.",
    "weight": "Kept with a lower weight in training.",
    "audit": "Drawn at random so that people check it. Nothing speaks against it.",
    "note": "Nothing is done; a further reason is noted.",
}
REASONS: Mapping[str, str] = {
    # verdicts
    "drawn": "Drawn at random, to measure how many labels are wrong.",
    "gold": "Asked again although the answer is known, to see how careful reviewers are.",
    "answered": "People have answered already.",
    "beyond_budget": "Other questions matter more, and the budget is used up.",
    "next_most_suspect": "The most suspect of those that no rule asks about.",
    "calibrated": "The chance of a fault was corrected by people's answers.",
    "marked": "Somebody marked it on the page, to ask people.",
    "baseline": "An empty background, which photographs may share.",
    "copy": "The same picture as another one that is kept.",
    "similar": "Very similar to another picture.",
    "looks_like_a_copy": "A model finds it as similar as a copy; nothing proves it.",
    "mask_in_doubt": "The object may be shown in part, or with something else.",
    "copies_with_two_labels": "The same picture is there with another label.",
    "shows_nothing": "One colour all over.",
    "out_of_focus": "Much less sharp than the others.",
    "poor_quality": "Far too dark, too light or too blurred.",
    "foreign": "Unlike anything else in the set.",
    "wrong_label": "The label is nearly certainly wrong.",
    "another_label": "Another label is likelier.",
    "another_class": "It shows another class.",
    "doubtful_label": "Several detectors doubt the label.",
    "more_labels": "People found further labels that are right.",
    "confirmed": "People confirmed its labels.",
    "no_right_label": "People found no label that is right.",
    "problematic": "People say that it can't be judged.",
    "memorised": "Learned only by heart, so its label may be wrong.",
    "low_label_p": "Among those in which a classifier finds the class least likely.",
    "unsafe": "A labeler calls it unsafe.",
    "unclear": "The labelers disagree, or say nothing.",
    "no_major_error": "Models made no major error on it.",
    # pictures that can't be had
    "unreadable": "The file is missing or can't be read.",
    "truncated": "The file is cut off.",
    "corrupt": "The file is damaged.",
    "not_an_image": "The file isn't a picture.",
    "empty": "The file is empty.",
    "no_picture": "There is no picture.",
    "bomb": "More pixels than can be decoded safely.",
    "unsafe_name": "The name leads out of the folder, so it is never opened.",
    "no_mask": "It has no mask of its object.",
    "bad_mask": "Its mask can't be used.",
    "mask_size": "Its mask has another size.",
    "size_mismatch": "The sizes that belong together differ.",
    "unknown_label": "Its label isn't one of the classes.",
    "no_label": "It has no label.",
    "minor_and_nudity": "Possible nudity, and a face that may be a minor's.",
    "age_unknown": "Possible nudity, and nobody's age can be told.",
    "blocked": "Its hash is on a list of blocked pictures.",
    "unavailable": "A model or service that it needs isn't there.",
    # edits that can't be made
    "no_room": "There is no room for it in the frame.",
    "no_objects": "The picture has no boxes.",
    "no_text": "There is no text to use.",
    "no_class": "The picture has no class that the edit needs.",
    "no_subject": "No object is found in it.",
    "no_partner": "There is no other picture to combine it with.",
    "no_direction": "The edit has no direction to go in here.",
    "too_small": "The picture or its object is too small.",
    "unchanged": "The edit would change nothing.",
    "black": "Most of the picture would be black.",
    "grey": "The picture is grey, so the edit shows nothing.",
    # attacks, searches and proofs
    "source_misclassified": "A model that took part is wrong about the picture before anything changes.",
    "no_such_class": "A model doesn't know the class.",
    "no_other_class": "A model knows no other class that it could answer.",
    "no_gradient": "The gradient is zero or not finite.",
    "target_is_label": "The class that is aimed at is the picture's own.",
    "oracle_disagrees_at_once": "An oracle doesn't accept the picture before anything changes.",
    "no_target": "Nothing can be aimed at.",
    "no_view": "No view passes the checks.",
    "collapsed": "The search ended at one point, so there is no distribution of views.",
    "never_recognised": "The network hardly recognises the object from natural sides.",
    "safe": "Every picture of the region was tried, and the network is right on all.",
    "safe_on_grid": "The network is right on all pictures that were tried; nothing is said of those in between.",
    "undecided": "The region has too many pictures; those that were tried are right.",
}
CHECKS: Mapping[str, tuple[str, str]] = {
    "mask_area": ("Share of the picture that the object covers.", "The object is too small or too large."),
    "mask_stability": ("How little the mask changes if the model's threshold moves.", "The mask is unreliable."),
    "mask_band": ("Width of the doubtful edge of the mask, in pixels.", "The mask's edge is unreliable."),
    "mask_misses_object": (
        "How likely the class is without the object.",
        "The object is found in part, or not at all.",
    ),
    "mask_not_object": (
        "How likely the class is on the object alone.",
        "Something else is found in place of the object.",
    ),
    "mask_components": ("Number of separate parts of the mask.", "The mask has several parts."),
    "mask_holes": ("Share of the mask that is holes.", "The mask has holes."),
    "truncated": ("Share of the object's outline on the edge of the picture.", "The picture cuts the object off."),
    "border_touch": ("Share of the object's outline on the edge of the frame.", "The object touches the edge."),
    "visible": ("Share of the object that is inside the frame.", "Part of the object would be outside the frame."),
    "object_kept": ("How little the object's pixels changed, in dB.", "The edit changed the object itself."),
    "background_changed": ("How much the background changed, from 0 to 1.", "The background hardly changed."),
    "texture_effective": ("How much the background's texture changed.", "The texture hardly changed."),
    "seam": ("How strongly the object's outline stands out.", "The object looks cut out."),
    "blank": ("Spread of the pixels' values.", "The picture shows nothing."),
    "plate_clean": ("How likely the class is on the empty background.", "The object is still there in the background."),
    "plate_hole": ("Share of the background that was filled in.", "Too much of the background is made up."),
    "plate_seam": ("How strongly the filled part's edge stands out.", "The edge of the filled part can be seen."),
    "plate_texture": ("Texture of the filled part, relative to its surroundings.", "The filled part is too smooth."),
    "label_p": ("Probability that a classifier gives to the class.", "A classifier doesn't see the class."),
    "label_rank": ("Rank of the class among a classifier's guesses.", "A classifier prefers other classes."),
    "size": ("How far the size is from the one asked for.", "The object has another size than asked for."),
    "position": ("How far the object moved.", "The object hardly moved."),
    "scale": ("How much the object was enlarged.", "The object is enlarged so much that it blurs."),
    "area_kept": ("How far the object's area is from what it was.", "The object's area changed."),
    "drift": ("How far the object moved unasked, in pixels.", "The object moved unasked."),
    "null_edit": ("How much the edit changes.", "The edit would change nothing."),
    "too_large": ("Size of the object.", "The object is too large for the edit."),
    "iou": ("Overlap with the object that was asked for.", "The object isn't where it should be."),
    "faces_left": ("Number of faces that are still found.", "A face is still found."),
    "nudity": ("A network's score for nudity.", "A network finds nudity."),
    "legibility": ("How well the objects are still recognised.", "The objects aren't recognised any more."),
    "boxes_confirmed": (
        "Share of the boxes that a detector finds again.",
        "A detector doesn't find the objects any more.",
    ),
}
"""By check, what its value says, and what it means that a picture failed it."""
ENDINGS: Mapping[str, str] = {
    "_rare": "The class is small, so people decide.",
    "_capped": "A large share of the class is suspect, so people decide.",
}
"""Of reasons that the guard of curation adds to."""


def words_for(codes: Iterable[str], checks: Iterable[str] = ()) -> dict[str, str]:
    """A sentence for each code that has one: states, actions and reasons.

    Args:
        codes: of states, actions and reasons. A picture that fails a check has its name as the reason.
        checks: names of the checks that were made; a reason of the same name is about the check.
    """
    made = {name: CHECKS[name][1] for name in checks if name in CHECKS}
    return {code: said for code in codes if (said := made.get(code) or _said(code))}


def words_of_reason(status: str, reason: str) -> str:
    """A sentence for the reason of a picture that isn't part of the edition; `""` if there is none.

    What is quarantined or can't be made failed a check, and a check may have the name of another reason.
    """
    return words_for([reason], [reason] if status in ("quarantined", "ineligible") else ()).get(reason, "")


def words_of_checks(checks: Iterable[str]) -> dict[str, str]:
    """What the value of each check says, where that is known."""
    return {name: CHECKS[name][0] for name in checks if name in CHECKS}


def _said(code: str) -> str:
    for known in (STATES, ACTIONS, REASONS):
        if code in known:
            return known[code]
    if code in CHECKS:
        return CHECKS[code][1]
    for ending, why in ENDINGS.items():
        if code.endswith(ending) and (said := _said(code.removesuffix(ending))):
            return f"{said} {why}"
    return REASONS["problematic"] if code.startswith("problematic_") else ""
