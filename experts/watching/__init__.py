"""What is seen of a training while it goes on; whoever looks has no part in it."""
