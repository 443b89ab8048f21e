"""One module a room, in the order of app/config/stage_order.py."""
