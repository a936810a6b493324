"""Runs a policy in simulated real time. Works with any world that is a `Plant`; needs no torch."""
