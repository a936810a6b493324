"""What several tests build alike: the only test modules that others import."""
