"""Attacks on watermarks, one file each: the components that `watermark_attack` takes as its `attacks`."""
