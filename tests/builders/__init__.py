"""What several tests build. Tests import these modules, and no other tests."""
