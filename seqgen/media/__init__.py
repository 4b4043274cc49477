"""Sound and image files, mel spectra and figures."""
