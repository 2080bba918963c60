"""What `ai_image_detection` measures on a picture, the detectors that it fits, and how it judges them."""
