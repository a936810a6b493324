"""Data that ships with vlatency: scene pieces, latency profiles, policies."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
