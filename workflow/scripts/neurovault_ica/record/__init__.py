"""What a rerun and a paper need."""
