"""The app: sample from models and score with them in the browser. A thin consumer of Pipeline and Modality."""
