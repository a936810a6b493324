"""Policies that are not ours: scripts, and servers that speak openpi's protocol."""
