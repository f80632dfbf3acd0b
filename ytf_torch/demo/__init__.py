"""The demo's faces, trigger and BadNet: everything ytf-demo needs that nobody has to download."""
