"""Completes and checks config.yaml, explains mistakes, and lists the files that it names."""
