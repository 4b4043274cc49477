"""Images: binarized and greyscale digits, and other public datasets."""
