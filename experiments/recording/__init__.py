"""What an episode leaves behind to look at: films and timelines."""
