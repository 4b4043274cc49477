"""Audio and image files, mel spectrograms and figures."""
