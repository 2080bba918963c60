"""What other tools' own readers make of an export, as JSON on stdout: `python peers.py TOOL FOLDER`.

It runs in an environment that has the tools and not the project.
"""

import json
import os
import sys


def fiftyone(folder):
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
    import fiftyone.utils.data.importers as importers
    import numpy as np

    asked = importers.FiftyOneDatasetImporter(folder)
    assert asked._is_legacy_format_data()  # so it hands over to the importer that needs no database
    importer = importers.LegacyFiftyOneDatasetImporter(folder)
    with importer:
        found = [
            {
                "id": sample["picture"],
                "there": os.path.isfile(sample.filepath),
                "tags": list(sample.tags),
                "label": sample["ground_truth"].label if sample["ground_truth"] else None,
                "size": [sample.metadata.height, sample.metadata.width],
                "boxes": [
                    [one.label, *one.bounding_box, int(np.sum(one.mask)) if one.mask is not None else None]
                    for one in sample["objects"].detections
                ],
                "license": sample["license"],
            }
            for sample in importer
        ]
    return {"samples": found, "info": importer.get_dataset_info()}


def cvat(folder):
    from datumaro.components.dataset import Dataset

    found = []
    dataset = Dataset.import_from(folder, "cvat")
    names = [one.name for one in dataset.categories()[next(iter(dataset.categories()))].items]
    for item in dataset:
        kinds = {"label": [], "bbox": [], "mask": []}
        for one in item.annotations:
            kind = one.type.name
            if kind == "label":
                kinds[kind].append(names[one.label])
            elif kind == "bbox":
                kinds[kind].append([names[one.label], *map(float, one.get_bbox())])
            elif kind == "mask":
                kinds[kind].append([names[one.label], int(one.image.sum()), *map(float, one.get_bbox())])
        height, width = item.media.data.shape[:2]
        found.append({"id": item.id, "subset": item.subset, "size": [height, width], **kinds})
    return {"samples": found, "names": names}


def label_studio(folder):
    from label_studio_sdk.label_interface import LabelInterface

    with open(os.path.join(folder, "config.xml"), encoding="utf-8") as file:
        config = file.read()
    interface = LabelInterface(config)
    interface.validate()
    with open(os.path.join(folder, "tasks.json"), encoding="utf-8") as file:
        tasks = json.load(file)
    said = [one for task in tasks for one in task["predictions"]]
    given = [{"model_version": one["model_version"], "score": 1.0, "result": one["result"]} for one in said]
    return {
        "names": sorted(interface.get_control("label").labels),
        "tasks": [interface.validate_task({"data": task["data"]}) for task in tasks],
        "predictions": [interface.validate_prediction(one) for one in given],
        "errors": [interface.validate_prediction(one, return_errors=True) for one in given],
    }


if __name__ == "__main__":
    found = globals()[sys.argv[1]](sys.argv[2])
    sys.stdout.write(json.dumps(found) + "\n")
