"""Statistics of arms that ran the same seeds. No simulation here."""
