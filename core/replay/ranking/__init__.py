"""The ranking of logged metrics: by which of them a practitioner would judge a run."""
