"""The app of seqgen: hear models, read them and score with them, in the browser. A thin consumer of Pipeline."""
