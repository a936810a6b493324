"""From demonstrations to a policy."""
