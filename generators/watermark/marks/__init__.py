"""Mark pictures: the components that `watermark` takes as its `marks`, one a file."""
