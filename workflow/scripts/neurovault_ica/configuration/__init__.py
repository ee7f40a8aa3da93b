"""Complete and check config.yaml, explain mistakes, and list the files that it names."""
