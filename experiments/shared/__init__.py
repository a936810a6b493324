"""What every verb uses: command line, progress, provenance, files."""
