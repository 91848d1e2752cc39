"""What every gRPC server of the house has, whatever it serves."""
