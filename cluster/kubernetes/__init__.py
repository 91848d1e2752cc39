"""Islands as JobSets of Kubernetes, by its official client."""
