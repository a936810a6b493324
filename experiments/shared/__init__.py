"""What every command uses: command line, provenance, files, progress."""
