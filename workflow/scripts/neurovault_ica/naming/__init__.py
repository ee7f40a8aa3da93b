"""Find names for the components, and match them with reference networks."""
