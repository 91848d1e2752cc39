"""The ensemble over gRPC."""
