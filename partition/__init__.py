"""From a data set to one set of shards for each expert."""
