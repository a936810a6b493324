"""Statistics on shared seeds, and what they permit to say."""
