"""What is in a data set, or in the shards of a run."""
