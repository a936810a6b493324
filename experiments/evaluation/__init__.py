"""One policy in one setting: options, episodes, and the folder of a run."""
