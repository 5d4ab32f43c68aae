"""Settings, and a process's surroundings.

Read in this order: settings, embedded, surroundings, broker, envelope, bell, telemetry, command.
"""
