"""What encoders make of a partition's samples, once, in tars beside those of the images."""
