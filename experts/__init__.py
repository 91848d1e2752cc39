"""The networks, the flow they learn, and the loop that trains them."""
