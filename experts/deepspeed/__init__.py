"""Engines that leave the sharing out of a network to DeepSpeed, held equal to plain torch."""
