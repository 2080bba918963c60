"""Watermarks, one file each: the components that `watermark` takes as its `marks`."""
