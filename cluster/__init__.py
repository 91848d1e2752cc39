"""Where islands run: the agent on each, and the providers that start them."""
