"""What operators type: the stages that train, and the commands that look and steer."""
