"""The capacity planner: a recorded stream of calls through a model of the graph; GPUs, latency and money come out.

trace -> [simulate] -> outcome -> plan -> report, charts. What a machine does is a `Profile`: measured, or a roofline.
"""
