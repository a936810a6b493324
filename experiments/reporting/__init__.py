"""What is told of results: summaries, reports, recommendations."""
