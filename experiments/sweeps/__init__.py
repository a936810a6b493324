"""Many settings compared: plans, measured cells, verdicts."""
