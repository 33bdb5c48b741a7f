"""The command line. Rule: only here is anything printed, and whatever a device sent is printed through `fieldlog.text`."""
