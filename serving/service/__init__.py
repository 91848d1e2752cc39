"""Orders become jobs, within limits; checkpoints come and go beneath them."""
