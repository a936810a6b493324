"""How long a model takes on the device at hand."""
