"""Agents: the vision-language-action policy, and its execution in simulated time."""
