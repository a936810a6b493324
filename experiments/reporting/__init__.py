"""From measured episodes to words: summaries, reports, recommendations, model cards."""
