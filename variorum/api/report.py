"""A model's whole robustness report: `va.report`.

Everything is checked before any model is asked, then planned, built, asked, and written. The report lies in the store
under a key of all that decides it, so the same question asked again is answered from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from variorum.api.report_asked import asked
from variorum.api.report_checks import planned_of, request_of
from variorum.api.report_object import Report
from variorum.api.report_plan import ReportPlan

if TYPE_CHECKING:
    from variorum.api.edition import Named
    from variorum.edition.store import Store
    from variorum.machine.progress import Progress


def report(
    models: Any,
    editions: Named | Sequence[Named] | None = None,
    *,
    suite: str | PathLike[str] | None = None,
    source: Any = None,
    reference: str | None = None,
    classes: Sequence[str] | str | PathLike[str] | None = None,
    preprocess: Any = None,
    defences: Sequence[str] = (),
    store: Store | str | PathLike[str] = "store",
    signed_by: str | PathLike[str] = "",
    issuer: str = "",
    digest: str = "",
    profile: str = "embedded",
    workers: int = 1,
    progress: bool | Progress = True,
    fail_below: Sequence[str] = (),
    fail_worse: Sequence[str] = (),
    strict: bool = False,
    plan: bool = False,
) -> Report | ReportPlan:
    """Report how robust models are, where, and whether their differences are real, on one page over many editions.

        report = va.report([network, "timm:resnet50.a1_in1k"], suite="quick", source="photos")

    Every row is one question, put to each model over the same photographs, with its 95 % interval and the paired
    difference to the reference. Each model sees each picture once; its answers are kept, so a killed call resumes, and
    the same question asked again is answered from the store. A function without a revision is asked each time.

    Args:
        models: 1 to 10: names (`timm:…`, `torchvision:…`, `hf:…`, `onnx:FILE`, `module:FILE:NAME`, or an alias),
            functions or networks, a list of these, or functions and networks by name.
        editions: `va.Edition` objects, names, folders, or `owner/name@1.0.0` on the Hub; one or several. Their rows are
            those that their recipes are made for.
        suite: a suite's name, `quick` or `robustness`, or its file. With `source` its missing editions are built.
        source: your photographs: a folder with a folder for each class, or whatever `variorum.run` takes.
        reference: the model that the others are compared with; by default the first.
        classes: of the models' outputs, in their order, as for `va.evaluate`.
        preprocess: what becomes of a picture before a network gets it, as for `va.evaluate`.
        defences: in words, such as `tempered t=2`; each model stands bare and behind each of them.
        store: folder or URL: of editions that are given by name, of those that are built, and of the report.
        signed_by: who must have signed the editions: a file with public SSH keys, a fingerprint, an address or a URL.
        issuer: who vouches for that address or URL.
        digest: the one that the edition must have, from its author.
        profile: `embedded` or `hub`: which models the aliases stand for.
        workers: parts that are worked on at the same time.
        progress: whether to show progress, or an object that receives it.
        fail_below: limits that the report judges: `ROW=VALUE` or `MODEL:ROW=VALUE`, in percent.
        fail_worse: the same for the difference to the reference, in percentage points: `ROW=POINTS`.
        strict: whether an interval that contains its limit fails too.
        plan: stop after the plan, and return it. It runs no file of a model or a suite, and says which a run would.

    Returns:
        The report: `.show()`, `.rows`, `.row("background").curve`, `.to_html(path)`, `.check({"background": 50})`.
        With `plan`, the plan.

    Raises:
        RecipeError: a model, suite, row or limit is unknown, two models are the same, a model lacks a class, or each of
            them decided what is in the editions.
        SourceError: there are no photographs, or they have no labels; or an edition of the Hub has no tag,
            another digest, or another signer.
        StoreError: there is no such edition, or the store can't be written.
        ModelUnavailable: a model isn't on this machine.
        ModelFailed: a model raised, or returned something else than one finite score per picture and class.

    >>> import variorum as va
    >>> def first(images):
    ...     return [[1, 0, 0]] * len(images)
    >>> def second(images):
    ...     return [[0, 1, 0]] * len(images)
    >>> names = ["astronaut", "chelsea", "coffee"]
    >>> report = va.report([first, second], "street@1.0.0", classes=names, progress=False)
    >>> report.row("originals").models["first"].figure.value
    33.33
    >>> report.check({"first:originals": 5})[0].outcome
    'kept'
    """
    given = asked(
        models,
        editions,
        suite=suite,
        source=source,
        reference=reference,
        classes=classes,
        preprocess=preprocess,
        defences=defences,
        store=store,
        signed_by=signed_by,
        issuer=issuer,
        digest=digest,
        profile=profile,
        workers=workers,
        fail_below=fail_below,
        fail_worse=fail_worse,
        plan=plan,
    )
    return planned_of(given) if plan else given.before() or request_of(given).made(progress)
