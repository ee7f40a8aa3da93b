"""Where images, metadata and term weights come from, and which images are selected."""
