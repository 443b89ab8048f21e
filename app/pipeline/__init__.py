"""A call's way: the stages of a policy, folded into one pipe, and the gateway that opens calls."""
