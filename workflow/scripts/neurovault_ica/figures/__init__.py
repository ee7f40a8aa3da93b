"""One module per figure, and what figures share."""
