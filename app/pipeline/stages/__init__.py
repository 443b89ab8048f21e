"""One module a stage, in the order of app/config/stage_order.py."""
