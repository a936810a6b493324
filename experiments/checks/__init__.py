"""Simulated time, drawing and speed held against the world outside."""
