"""Evidence for what a component is called."""
