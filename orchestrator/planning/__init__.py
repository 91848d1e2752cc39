"""What a run needs before it is begun: operations, memory, hours, bytes, money. Pure."""
