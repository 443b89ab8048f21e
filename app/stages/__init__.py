"""One module a room, in the order of app/config/order.py."""
