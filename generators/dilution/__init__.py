"""Text that is added to captions: keywords, sentences, captions of similar pictures, and measures of all of them."""
