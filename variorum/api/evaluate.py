"""Evaluating your own models on an edition: `va.evaluate`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from variorum.api.arguments import share, whole_number
from variorum.api.edition import Edition, opened
from variorum.api.leaderboard import board_of
from variorum.api.model_choice import ModelChoice, chosen_models, read_classes
from variorum.api.progress import shown
from variorum.api.results import Results
from variorum.edition.editions import write_beside
from variorum.edition.store import Store
from variorum.evaluation.classifiers.evaluator import (
    Evaluator,
    check_model,
    job_on,
    known_models,
    store_for_tables,
    temporary_store,
)
from variorum.evaluation.classifiers.figures import Given, figures
from variorum.evaluation.classifiers.pictures import Pictures, pictures_of
from variorum.evaluation.classifiers.ranking import Answered, edition_name, ranked
from variorum.kit.predicted.answers import PREDICTED, in_order_of
from variorum.machine.progress import Progress
from variorum.models.brought import BroughtModel, is_brought
from variorum.models.filters import weights_of
from variorum.reports.answers import keep_answers
from variorum.reports.result_files import results_beside, write_result
from variorum.reports.results import Method, ModelFacts, Result, answers
from variorum.reports.standing import FILE
from variorum.schemas.errors import CorruptShard, RecipeError, SourceError, StoreError
from variorum.schemas.table import Table
from variorum.stages.evaluate import check_judges
from variorum.stages.job import Job, Profile, figures_of, installed_version
from variorum.stages.stage import Threads

if TYPE_CHECKING:
    import pyarrow as pa

    from variorum.schemas.manifest import Manifest

log = logging.getLogger(__name__)


def evaluate(
    edition: Edition | str | PathLike[str],
    model: object,
    *,
    classes: Sequence[str] | str | PathLike[str] | None = None,
    name: str | None = None,
    revision: str = "",
    preprocessing: str = "",
    preprocess: str | Callable[[Any], Any] | None = None,
    confidence: float = 0.95,
    workers: int = 1,
    progress: bool | Progress = True,
    save: bool = True,
    store: Store | str | PathLike[str] = "store",
    profile: Profile = "embedded",
) -> Results:
    """Run models on every picture of an edition, and measure how much accuracy they lose on each variant.

        def mine(images):  # RGB uint8 arrays [H, W, 3] of any sizes, at most 32
            return network(preprocess(images))  # logits or probabilities [N, K]

        results = va.evaluate(va.open("imagenet_e"), mine)

    A named model's answers are kept in the store, so it sees no picture twice and a killed call resumes. A function is
    called again each time, unless it has a `revision`.

    A network is a model as it is: a PyTorch module, also of timm, torchvision or transformers, a Keras model, a
    function of JAX, or an object with `predict_proba`. It gets its own preprocessing, or else the usual one, which is
    logged and kept in the result. A model that seems to answer by chance is named.

    Args:
        edition: an edition, or its name in `store`.
        model: a model's name (`timm:…`, `torchvision:…`, `hf:…`, `onnx:FILE`, `module:FILE:FUNCTION`, or an alias), a
            function or a network, a list of these, or functions and networks by name.
        classes: of the models' outputs, in their order: wnids, or the edition's ids or names; or a file with them, one
            per line or as a JSON list. By default those that a model names itself, or ImageNet's thousand, or the
            edition's own in the order of their ids, if there are as many as outputs.
        name: what the function is called in results; by default its own name.
        revision: which version of the function this is, such as a commit; its answers are then kept. It also stands
            for a function that is given as `preprocess`.
        preprocessing: what the function does to a picture, in a sentence for the results.
        preprocess: what becomes of a picture before a network gets it, if not the usual: words such as
            `"resize=256 crop=224 mean=imagenet std=imagenet"` or `"none"`, or a function from a PIL picture to an array
            or a tensor, such as a transform of torchvision. A function then gets one array of prepared pictures.
        confidence: level of the intervals, in (0, 1).
        workers: shards that are worked on at the same time; the model is called from as many threads.
        progress: whether to show progress, or an object that receives it.
        save: whether to write `results/*.json` beside the manifest, for `va.leaderboard`.
        store: of an edition that is given by name.
        profile: `embedded` or `hub`: which models the aliases stand for.

    Raises:
        SourceError: the edition has no pictures or no labels, or a file of classes can't be read.
        RecipeError: a model is unknown, given twice, lacks a class, or filtered the edition.
        ModelUnavailable: a model isn't on this machine, or its package isn't installed.
        ModelFailed: a model raised, or returned something else than one finite score per picture and class.
        StoreError: there is no such edition, or `save` is true and its store can't be written.

    >>> import variorum as va
    >>> def channels(images):
    ...     return [[image[..., channel].mean() for channel in range(3)] for image in images]
    >>> results = va.evaluate("mine@1.0.0", channels, classes=["astronaut", "chelsea", "coffee"], progress=False)
    >>> results.figures["classifiers"]["channels"]["original_accuracy"]
    25.0
    """
    confidence = share("evaluate: confidence", confidence, RecipeError)
    workers = whole_number("workers", workers, 1, 1000, RecipeError)
    found = opened(edition, store)
    manifest, where = found.manifest, found.store
    tables = store_for_tables(where)
    if save and tables.root != where.root:
        raise StoreError(
            f"{where}: can't be written, so the results can't be saved there; call it with save=False, and save them "
            f"with Results.save(FOLDER) (on the command line: --to FOLDER)"
        )
    pictures = _pictures(manifest, where)
    chosen = chosen_models(
        model,
        classes=read_classes(classes),
        name=name,
        revision=revision,
        preprocessing=preprocessing,
        preprocess=preprocess,
    )
    models = known_models(profile, chosen.brought)
    models.fetch_missing(chosen.names)
    answers: dict[str, pa.Table] = {}
    with shown(progress) as receiver, temporary_store() as temporary:
        job = job_on(manifest, where, chosen.names, tables, models, confidence=confidence)
        once = job_on(manifest, where, chosen.names, temporary, models, confidence=confidence)
        kept = [one for one in chosen.names if one not in chosen.uncached]
        groups = [
            Evaluator(own, manifest, where, names) for own, names in ((job, kept), (once, chosen.uncached)) if names
        ]
        _check(job, found, pictures, [one for group in groups for one in group.new()])
        for group in groups:
            asked = group.ask(Threads(workers, stops=(Exception,)), receiver)
            answers |= {one: table.select(PREDICTED) for one, table in asked.items()}
    facts = {one: facts_of(job, answers[one], one, chosen) for one in chosen.names}
    results = _results(job, manifest, pictures, {one: answers[one] for one in chosen.names}, facts)
    if save:
        save_results(results.files, answers, manifest, where)
    return results


def save_results(
    results: Mapping[str, Result], answers: Mapping[str, pa.Table], manifest: Manifest, store: Store
) -> None:
    """Write results and answers beside the manifest, and the leaderboard that the card shows.

    Args:
        results: by model.
        answers: by model, its table.
        manifest: the edition.
        store: its store, or where its tables are if that can't be written.
    """
    tables = store_for_tables(store)
    for one, result in results.items():
        write_result(result, manifest, tables)
        keep_answers(result, answers[one], manifest, tables)
    board = board_of(manifest, store, results_beside(manifest, tables), {})
    write_beside(manifest, FILE, board.to_bytes(), tables)


def _pictures(manifest: Manifest, store: Store) -> Pictures:
    """The edition's pictures, if models can be scored on them."""
    name = f"{manifest.dataset}@{manifest.version}"
    if not manifest.pictures():
        raise SourceError(f"{name} has no accepted pictures, so nothing can be evaluated on it")
    found = pictures_of(manifest, store)
    if not manifest.classes or not found.labelled.any():
        raise SourceError(f"{name} has no labels, so answers can't be scored; make it from a labelled source")
    return found


def _check(job: Job, edition: Edition, pictures: Pictures, new: Sequence[str]) -> None:
    """Check the models before the work; those that have seen all pictures aren't loaded again.

    One that doesn't say how many outputs it has is asked about one picture.

    Raises:
        RecipeError: one filtered the edition, or lacks a class of its pictures.
        ModelUnavailable: one isn't on this machine and can't be downloaded.
        ModelFailed: one raised, or gave something else than scores.
    """
    check_judges(job.recipe.evaluate[0], edition.manifest, job)
    job.ctx.models.check(new)
    for name in new:
        model = check_model(name, job, pictures.classes, lambda: next(iter(edition.samples())).image)
        if isinstance(model, BroughtModel) and model.kind:
            log.warning(
                "model %s is a %s; preprocessing: %s Change it by --preprocess or preprocess=.",
                *(model.name, model.kind, model.preprocessing),
            )
        if ordered := in_order_of(model, job.judging):
            log.warning("model %s: %s; give classes if they have another order", model.name, ordered)


def facts_of(job: Job, table: pa.Table, name: str, chosen: ModelChoice) -> ModelFacts:
    """Return the facts that result files state about a model."""
    pin = job.ctx.models.pin(name)
    label = weights_of(pin).rpartition("@")[0] if is_brought(name) and name not in chosen.brought else name
    own = chosen.revisions.get(name)
    return ModelFacts(
        name=label.removeprefix("function:"),
        revision=pin if own is None else own,
        classes=table["outputs"][0].as_py(),
        preprocessing=table["preprocessing"][0].as_py()[:1000],
    )


def method_of(job: Job) -> Method:
    """The method of the figures of a job's evaluation."""
    evaluation = job.recipe.evaluate[0]
    options = evaluation.model_dump()
    return Method(
        name=evaluation.component_name(),
        revision=evaluation.revision,
        confidence=options["confidence"],
        bootstrap=options["bootstrap"],
        seed=job.ctx.seed,
    )


def result_of(
    manifest: Manifest, pictures: Pictures, table: pa.Table, facts: ModelFacts, method: Method
) -> tuple[Result, Given]:
    """A model's result on an edition, and its answers. Raises CorruptShard if the table is of other pictures."""
    if table["id"].to_pylist() != list(pictures.ids):
        name = f"{manifest.dataset}@{manifest.version}"
        raise CorruptShard(
            f"{name}: its shards and its tables have different pictures; check it with: variorum verify {name}"
        )
    label = table["label"].to_numpy()
    given = Given(label >= 0, table["correct"].to_numpy(zero_copy_only=False).astype(bool))
    result = Result(
        edition=edition_name(manifest),
        model=facts,
        evaluation=method,
        figures=figures(pictures, given, method),
        answers=answers(pictures.ids, *given),
        variorum=installed_version("variorum"),
    )
    return result, given


def _results(
    job: Job, manifest: Manifest, pictures: Pictures, tables: Mapping[str, pa.Table], facts: Mapping[str, ModelFacts]
) -> Results:
    import pyarrow as pa

    evaluation, method = job.recipe.evaluate[0], method_of(job)
    edition, given, files = edition_name(manifest), {}, {}
    for model, table in tables.items():
        files[model], given[model] = result_of(manifest, pictures, table, facts[model], method)
    joined = pa.concat_tables(tables.values(), promote_options="default")
    return Results(
        evaluation=evaluation,
        figures=figures_of(evaluation, Table(joined, evaluation.component_name()), job.judging),
        files=files,
        leaderboard=ranked(
            edition, pictures, [Answered(files[one], given[one], files[one].figures) for one in files], method
        ),
        tables=dict(tables),
    )
