"""Training: the LightningModule, the run folder and its checkpoints. Importing these modules imports Lightning."""
