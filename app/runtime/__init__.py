"""One process put together: ports and engines wired, the database opened, chores running."""
