"""Average precision of detectors: records of a picture, matching by pycocotools, precision, resamples, figures."""

COMPONENTS = ("size_binned_ap",)
