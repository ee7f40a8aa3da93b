"""Cross-study ICA of statistic maps: the library behind the workflow's scripts."""
